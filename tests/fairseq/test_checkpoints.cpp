// The checkpoints of the data folder, and of copies of it that are wrong in one place.
#include <nlohmann/json.hpp>

#include "damage.h"
#include "tests/models/golden.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::vector<fs::path> folders_of_checkpoints() {
  std::vector<fs::path> folders;
  if (!fs::exists(data_folder / "ckpt")) return folders;
  for (const auto& entry : fs::directory_iterator(data_folder / "ckpt"))
    if (fs::exists(entry.path() / "expect.npz")) folders.push_back(entry.path());
  std::ranges::sort(folders);
  return folders;
}

// Something of a checkpoint to spoil: arrays of expect.npz of a batch without pads, and a weight that it depends on.
struct Target {
  std::string logprobs, expert, weight;
  size_t item = 8;

  explicit Target(const fs::path& folder) {
    const Npz npz(folder / "expect.npz");
    for (const auto& [name, array] : npz.arrays()) {
      if (name.ends_with(".main.logprobs")) logprobs = name, item = array.item_bytes;
      if (name.ends_with(".expert1") && name.find(".main.layer") != std::string::npos) expert = name;
    }
    weight = "decoder.layers.0.self_attn_layer_norm.bias";
    if (expert.empty()) return;
    const size_t at = expert.find(".layer") + 6;
    const std::string layer = expert.substr(at, expert.find('.', at) - at);
    weight = fmt::format("decoder.layers.{}.moe_layer.experts.{}.fc2.bias", layer, npz[expert].values.front());
  }
};

bool found(const Copy& copy) { return !check_checkpoints(copy.path).wrong.empty(); }

}  // namespace

TEST_CASE("checkpoints") {
  const Outcome out = check_checkpoints(data_folder);
  print("checkpoints, each mode's batches and texts", out);
  CHECK(out.wrong.empty());
  if (fs::exists(data_folder / "ckpt")) CHECK(out.checked + static_cast<int>(out.notes.size()) > 0);
}

TEST_CASE("our own checkpoints have rows of every kind") {
  if (!fs::equivalent(data_folder, MOIETY_SOURCE_DIR "/tests/fairseq/data")) return;
  const Outcome out = check_checkpoints(data_folder);
  for (const char* kind : {"first_dropped", "second_dropped", "both_dropped", "ties", "pads", "refused"}) {
    CAPTURE(kind);
    CHECK((out.rows.contains(kind) && out.rows.at(kind) > 0));
  }
}

TEST_CASE("a checkpoint with another weight, expert id or log-probability is found") {
  for (const fs::path& folder : folders_of_checkpoints()) {
    CAPTURE(folder.string());
    const Target target(folder);
    const fs::path part = fs::path("ckpt") / folder.filename();
    const Copy copy(part);
    const fs::path archive = copy.path / part / "expect.npz";
    REQUIRE(!target.logprobs.empty());
    CHECK(!found(copy));
    damage(archive, target.logprobs, target.item, target.item == 4 ? plus<float>(3e-4f) : plus<double>(3e-4));
    CHECK(found(copy));
    if (!target.expert.empty()) {
      fs::copy(folder / "expect.npz", archive, fs::copy_options::overwrite_existing);
      damage(archive, target.expert, 4, plus<int32_t>(1));
      CHECK(found(copy));
    }
    fs::copy(folder / "expect.npz", archive, fs::copy_options::overwrite_existing);
    CHECK(!found(copy));
    const auto expect = nlohmann::json::parse(read_file(folder / "expect.json"));
    damage_weight(copy.path / part / fs::path(expect.at("checkpoint").get<std::string>()).filename(), target.weight);
    CHECK(found(copy));
  }
}
