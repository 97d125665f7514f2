// A folder that stands for "/", with the files of sysfs and procfs that a test puts there.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace moiety::test {

struct SystemTree {
  SystemTree() {
    char folder[] = "/tmp/moiety-test-XXXXXX";
    REQUIRE(mkdtemp(folder) != nullptr);
    path = folder;
  }
  SystemTree(const SystemTree&) = delete;
  SystemTree& operator=(const SystemTree&) = delete;
  ~SystemTree() { std::filesystem::remove_all(path); }

  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text << '\n';
  }
  void cpu(int id, int package, int core) const {
    const std::string topology = "sys/devices/system/cpu/cpu" + std::to_string(id) + "/topology/";
    put(topology + "physical_package_id", std::to_string(package));
    put(topology + "core_id", std::to_string(core));
  }

  std::filesystem::path path;
};

}  // namespace moiety::test
