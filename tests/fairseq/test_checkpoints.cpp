// The checkpoints of the data folder, and of copies of it that are wrong in one place.
#include "damage.h"

using namespace moiety;
using namespace moiety::test;

TEST_CASE("checkpoints") {
  const Outcome out = check_checkpoints(data_folder);
  print("checkpoints, each mode's batches and texts", out);
  CHECK(out.wrong.empty());
  if (fs::exists(data_folder / "ckpt")) CHECK(out.checked + static_cast<int>(out.notes.size()) > 0);
}

TEST_CASE("a checkpoint with another expert id, or another log-probability, is found") {
  if (!fs::exists(data_folder / "ckpt")) return;
  const Copy copy("ckpt");
  std::string base;
  fs::path archive;
  for (const auto& folder : fs::directory_iterator(copy.path / "ckpt")) {
    const fs::path file = folder.path() / "expect.npz";
    if (!fs::exists(file)) continue;
    const Npz npz(file);
    for (const auto& [name, array] : npz.arrays()) {
      if (name.ends_with(".layer1.expert1") && name.starts_with("nodrop.")) archive = file, base = name.substr(0, name.find(".layer1"));
    }
  }
  REQUIRE(!archive.empty());
  fs::copy(archive, archive.string() + ".good");
  const auto found = [&] {
    const bool any = !check_checkpoints(copy.path).wrong.empty();
    fs::copy(archive.string() + ".good", archive, fs::copy_options::overwrite_existing);
    return any;
  };
  damage(archive, base + ".layer1.expert1", 4, plus<int32_t>(1));
  CHECK(found());
  damage(archive, base + ".logprobs", 8, plus<double>(3e-4));
  CHECK(found());
}
