#include "system_tree.h"

#include "core/cpu_info.h"

using namespace moiety;
namespace fs = std::filesystem;

namespace {

// Eight CPUs, two threads a core.
struct Root : test::SystemTree {
  Root() {
    for (int i = 0; i < 8; ++i) cpu(i, i / 4, i % 4 / 2);
  }
};

const std::vector<int> kAll{0, 1, 2, 3, 4, 5, 6, 7};

}  // namespace

TEST_CASE("cores are counted among the allowed CPUs") {
  const Root root;
  CHECK(cpu_limits(root.path, kAll).affinity == 8);
  CHECK(cpu_limits(root.path, kAll).quota == 8);
  CHECK(cpu_limits(root.path, kAll).cores == 4);
  CHECK(cpu_limits(root.path, kAll).threads() == 4);
  CHECK(cpu_limits(root.path, {0, 1}).threads() == 1);
  CHECK(cpu_limits(root.path, {0, 2, 4}).threads() == 3);
  CHECK(cpu_limits(root.path / "nowhere", kAll).threads() == 8);  // a kernel that tells nothing
}

TEST_CASE("cgroup version 2: the smallest quota of the group and its parents, rounded up") {
  const Root root;
  root.put("proc/self/cgroup", "0::/user/app");
  root.put("sys/fs/cgroup/user/app/cpu.max", "max 100000");
  CHECK(cpu_limits(root.path, kAll).quota == 8);
  root.put("sys/fs/cgroup/user/cpu.max", "250000 100000");
  CHECK(cpu_limits(root.path, kAll).quota == 3);
  root.put("sys/fs/cgroup/user/app/cpu.max", "100001 100000");
  CHECK(cpu_limits(root.path, kAll).threads() == 2);
  root.put("sys/fs/cgroup/user/app/cpu.max", "1000 100000");
  CHECK(cpu_limits(root.path, kAll).threads() == 1);
}

TEST_CASE("cgroup version 2 in a container: the host's path is absent, the mount is the group") {
  const Root root;
  root.put("proc/self/cgroup", "0::/../../docker/abc");
  root.put("sys/fs/cgroup/cpu.max", "200000 100000");
  CHECK(cpu_limits(root.path, kAll).quota == 2);
  root.put("proc/self/cgroup", "0::/docker/abc");
  CHECK(cpu_limits(root.path, kAll).quota == 2);
}

TEST_CASE("cgroup version 1: quota and period, under both names of the mount") {
  const Root root;
  root.put("proc/self/cgroup", "5:memory:/app\n4:cpu,cpuacct:/app");
  root.put("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "150000");
  root.put("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000");
  CHECK(cpu_limits(root.path, kAll).quota == 2);
  root.put("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1");
  CHECK(cpu_limits(root.path, kAll).quota == 8);
  root.put("proc/self/cgroup", "1:cpu:/");
  root.put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000");
  root.put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  CHECK(cpu_limits(root.path, kAll).quota == 3);
}

TEST_CASE("nonsense in a cgroup file is no limit") {
  const Root root;
  root.put("proc/self/cgroup", "garbage\n0::/");
  for (const char* text : {"", "max", "x 100000", "100000 0", "100000 -5", "0 100000", "99999999999999999999 1"}) {
    root.put("sys/fs/cgroup/cpu.max", text);
    CHECK(cpu_limits(root.path, kAll).quota == 8);
  }
}

TEST_CASE("this CPU has a name, and its levels are nested") {
  const CpuInfo info = cpu_info();
  CHECK(!info.model.empty());
  const CpuFeatures& f = info.features;
  CHECK((!f.avx512_vnni || f.avx512));
  CHECK((!f.avx512_bf16 || f.avx512));
  CHECK((!f.avx512 || f.avx2));
  CHECK((!f.avx_vnni || f.avx2));
#if defined(__x86_64__)
  __builtin_cpu_init();
  CHECK(f.sse42 == (__builtin_cpu_supports("sse4.2") != 0));
  CHECK(f.avx2 == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")));
  CHECK(f.avx512 == (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl")));
  CHECK(f.avx512_vnni == (f.avx512 && __builtin_cpu_supports("avx512vnni")));
  CHECK(f.avx512_bf16 == (f.avx512 && __builtin_cpu_supports("avx512bf16")));
  CHECK((!f.amx || (__builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("amx-bf16"))));
#endif
}
