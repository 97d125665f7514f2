// fairseq checkpoints: the files that belong together, what is told where they do not, and the settings.
#include <doctest/doctest.h>

#include "runtime/fairseq_files.h"
#include "runtime/load.h"
#include "tests/runtime/fairseq_checkpoints.h"

using namespace moiety;
using namespace moiety::test;

namespace fs = std::filesystem;

namespace {

Config moe() {
  Config c = find_architecture("fairseq_moe")->tiny()[1];  // a dense layer among them, a head of its own
  c.experts = 8;
  return c;
}

WeightStore weights(const Config& c, uint64_t seed = 1, DType type = DType::kF32) {
  return RandomWeights(c, {.seed = seed, .type = type}).make();
}

std::string refusal(const fs::path& path, Status status) {
  try {
    load_model(path, {.backends = {"reference"}});
  } catch (const Error& error) {
    CHECK(error.status() == status);
    return error.what();
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

// A folder with a checkpoint of four rank files.
struct FourRanks {
  TemporaryFolder folder;
  fs::path x = folder.path() / "x.pt";
  explicit FourRanks(const CheckpointOptions& options = {.ranks = 4}, uint64_t seed = 1) {
    write_checkpoint(folder.path(), moe(), weights(moe(), seed), options);
  }
  fs::path operator/(const char* name) const { return folder.path() / name; }
};

}  // namespace

TEST_CASE("any number of files, containers and places of settings: the same logits as the weights in memory") {
  const Config c = moe();
  const auto tokens = random_tokens(97, 9, 3);
  const ModelOptions options{.backends = {"reference"}};
  const auto expected = logits_of(*random_model(c, options), tokens, 9);
  for (const CheckpointOptions& how : {CheckpointOptions{}, {.ranks = 1}, {.ranks = 4}, {.ranks = 8}, {.ranks = 8, .replicas = 2},
                                       {.ranks = 4, .legacy = true}, {.legacy = true}, {.ranks = 2, .args = true}}) {
    CAPTURE(how.ranks);
    CAPTURE(how.legacy);
    const TemporaryFolder folder;
    write_checkpoint(folder.path(), c, weights(c), how);
    const auto model = load_model(folder.path() / "x.pt", options);
    CHECK(model->warnings() == std::vector<std::string>{"no tokenizer: dict.txt, encoder.json, vocab.bpe not found beside the "
                                                        "checkpoint; --bpe names their folder"});
    CHECK(model->memory().copied == 0);  // every tensor is a view of the files
    CHECK(model->config().experts == 8);
    CHECK(model->config().normalise_before_drop);
    CHECK(model->config().dense_layers == std::vector<int>{0, 2});
    CHECK(logits_of(*model, tokens, 9) == expected);
    if (how.ranks == 4) {
      CHECK(logits_of(*load_model(folder.path() / "x-rank-2.pt", options), tokens, 9) == expected);
      CHECK(logits_of(*load_model(folder.path(), options), tokens, 9) == expected);
    }
  }
}

TEST_CASE("the head: absent, the embedding itself, a copy of it") {
  Config c = find_architecture("fairseq_moe")->tiny()[2];  // dense, tied
  const auto tokens = random_tokens(97, 5, 3);
  for (const bool version : {true, false}) {
    c.final_norm = version;
    const auto expected = logits_of(*random_model(c, {}), tokens, 5);
    Config with_norm = c;
    with_norm.final_norm = true;  // a file without a version may hold the norm: it is left out
    for (const auto head : {CheckpointOptions::kAbsent, CheckpointOptions::kAlias, CheckpointOptions::kCopy}) {
      const TemporaryFolder folder;
      write_checkpoint(folder.path(), c, weights(c), {.version = version, .head = head});
      const auto model = load_model(folder.path() / "x.pt");
      CHECK(model->config().tied_head);
      CHECK(model->config().final_norm == version);
      CHECK(logits_of(*model, tokens, 5) == expected);
    }
    const TemporaryFolder folder;
    write_checkpoint(folder.path(), with_norm, weights(with_norm), {.version = version});
    CHECK(load_model(folder.path() / "x.pt")->warnings().size() == (version ? 1u : 2u));
  }
  const TemporaryFolder folder;
  const auto absent = [&](bool shared) {
    write_checkpoint(folder.path(), c, weights(c),
                     {.version = false,
                      .head = CheckpointOptions::kAbsent,
                      .settings = {{"share_decoder_input_output_embed", py::boolean(shared)}}});
    return folder.path() / "x.pt";
  };
  CHECK(load_model(absent(true))->config().tied_head);
  CHECK(contains(refusal(absent(false), Status::kFormat), "'decoder.output_projection.weight' is missing, and share_"));
}

TEST_CASE("half precision runs from the file as it is") {
  const Config c = moe();
  const auto tokens = random_tokens(97, 9, 3);
  for (const DType type : {DType::kF16, DType::kBF16}) {
    const TemporaryFolder folder;
    write_checkpoint(folder.path(), c, weights(c, 1, type), {.ranks = 4});
    const auto model = load_model(folder.path() / "x.pt");
    CHECK(model->memory().copied == 0);
    CHECK(logits_of(*model, tokens, 9) == logits_of(*random_model(c, {}, {.type = type}), tokens, 9));
  }
}

TEST_CASE("a missing file is named") {
  const FourRanks four;
  fs::remove(four / "x-rank-2.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "x-rank-2.pt: the file is missing, x-rank-3.pt is there"));
  fs::remove(four / "x-rank-3.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "x-rank-2.pt: the file is missing: 8 experts, 2 in a file"));
  fs::remove(four / "x-rank-0.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "x-rank-0.pt: the file is missing, x-rank-1.pt is there"));
  fs::remove(four / "x-rank-1.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "x-rank-0.pt: the file is missing: the gates of x-shared.pt choose among 8"));
  fs::remove(four / "x-shared.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "x.pt: no such file, and no x-shared.pt beside it"));
  const FourRanks other;
  fs::remove(other / "x-shared.pt");
  CHECK(contains(refusal(other.x, Status::kIo), "x-shared.pt: the file is missing, x-rank-0.pt is there"));
  const FourRanks replicas({.ranks = 8, .replicas = 2});
  fs::remove(replicas / "x-rank-15.pt");
  CHECK(contains(refusal(replicas.x, Status::kIo), "x-rank-15.pt: the file is missing: 8 experts, 1 in a file"));
}

TEST_CASE("a file that is there twice is named") {
  const FourRanks four;
  fs::copy_file(four / "x-rank-1.pt", four / "x-rank-01.pt");
  CHECK(contains(refusal(four.x, Status::kInvalidArgument), "are the same part of the checkpoint"));
  fs::remove(four / "x-rank-01.pt");
  fs::copy_file(four / "x-rank-1.pt", four / "x-rank-1-shard0.pt");
  CHECK(contains(refusal(four.x, Status::kInvalidArgument), "are the same part of the checkpoint"));
  fs::remove(four / "x-rank-1-shard0.pt");
  fs::copy_file(four / "x-rank-1.pt", four / "x-rank-3.pt", fs::copy_options::overwrite_existing);
  CHECK(contains(refusal(four.x, Status::kFormat), "x-rank-3.pt: it holds the same experts as x-rank-1.pt"));
  fs::copy_file(four / "x-rank-1.pt", four / "x-rank-4.pt");
  CHECK(contains(refusal(four.x, Status::kFormat), "x-rank-4.pt: there are 5 rank files of 2 experts, the gates choose among 8"));
}

TEST_CASE("a file of another run, another step, another rank or another model is named") {
  const FourRanks four;
  const auto replaced = [&](const FourRanks& by, const char* file) {
    FourRanks mixed;
    fs::copy_file(by / file, mixed / "x-rank-1.pt", fs::copy_options::overwrite_existing);
    return refusal(mixed.x, Status::kFormat);
  };
  CHECK(contains(replaced(FourRanks({.ranks = 4, .seed = 2}, 7), "x-rank-1.pt"), "x-rank-1.pt: it is of another run than x-shared.pt: seed is 2, there 1"));
  CHECK(contains(replaced(FourRanks({.ranks = 4, .updates = 200}, 7), "x-rank-1.pt"), "num_updates is 200, there 100"));
  CHECK(contains(replaced(FourRanks({.ranks = 4, .args = true, .seed = 3}, 7), "x-rank-1.pt"), "seed is 3, there 1"));
  CHECK(contains(replaced(FourRanks({.ranks = 2}), "x-rank-1.pt"), "x-rank-1.pt: it holds 4 experts of a layer, x-rank-0.pt holds 2"));
  CHECK(contains(replaced(FourRanks({.ranks = 4}, 7), "x-rank-2.pt"), "x-rank-1.pt: rank 2 wrote it, its name says 1"));
  // Two files that changed their names.
  fs::rename(four / "x-rank-1.pt", four / "t"), fs::rename(four / "x-rank-2.pt", four / "x-rank-1.pt");
  fs::rename(four / "t", four / "x-rank-2.pt");
  CHECK(contains(refusal(four.x, Status::kFormat), "x-rank-1.pt: rank 2 wrote it, its name says 1"));
}

TEST_CASE("settings: keys may be missing, what is not built is refused, heads are needed") {
  const auto with = [](std::map<std::string, std::string> settings, Status status) {
    const FourRanks four({.ranks = 4, .settings = std::move(settings)});
    return refusal(four.x, status);
  };
  const FourRanks fewer({.ranks = 4, .settings = {{"activation_fn", ""}, {"decoder_layers", ""}, {"decoder_embed_dim", ""},
                                                  {"moe_expert_count", ""}, {"max_target_positions", ""}}});
  CHECK(load_model(fewer.x)->config().context == 2048);
  CHECK(contains(with({{"decoder_attention_heads", ""}}, Status::kFormat), "neither cfg nor args says decoder_attention_heads"));
  CHECK(contains(with({{"decoder_attention_heads", py::integer(5)}}, Status::kFormat), "is 5, no part of the width 64"));
  CHECK(contains(with({{"activation_fn", py::text("relu")}}, Status::kUnsupported), "activation_fn 'relu' is not supported"));
  CHECK(contains(with({{"decoder_learned_pos", py::boolean(true)}}, Status::kUnsupported), "decoder_learned_pos is not supported"));
  CHECK(contains(with({{"moe_top1_expert", py::boolean(true)}}, Status::kUnsupported), "moe_top1_expert is not supported"));
  CHECK(contains(with({{"moe_expert_count", py::integer(16)}}, Status::kFormat), "choose among 8 experts, moe_expert_count says 16"));
  CHECK(contains(with({{"decoder_layers", py::integer(4)}}, Status::kFormat), "it has 3 layers, decoder_layers says 4"));
  const FourRanks flat({.ranks = 4, .extra = {{"decoder.layers.0.flat_param_0", py::none()}}});
  CHECK(contains(refusal(flat.x, Status::kUnsupported), "consolidate the checkpoint first"));
  const FourRanks odd({.ranks = 4, .extra = {{"decoder.strange", py::none()}}});
  CHECK(contains(refusal(odd.x, Status::kFormat), "tensor 'decoder.strange': it is no tensor"));
}

TEST_CASE("shards: shared parameters in several files, each whole") {
  const FourRanks four;
  fs::rename(four / "x-shared.pt", four / "x-shared-shard0.pt");
  fs::copy_file(four / "x-shared-shard0.pt", four / "x-shared-shard1.pt");
  for (int rank = 0; rank < 4; ++rank)
    fs::rename(four / fmt::format("x-rank-{}.pt", rank).c_str(), four / fmt::format("x-rank-{}-shard{}.pt", rank, rank).c_str());
  CHECK(load_model(four.x)->config().experts == 8);
  fs::rename(four / "x-shared-shard1.pt", four / "x-shared-shard2.pt");
  CHECK(contains(refusal(four.x, Status::kIo), "shard 1 of the file is missing"));
}

TEST_CASE("paths: several checkpoints in a folder, a vocabulary where none belongs") {
  const FourRanks four;
  write_text(four / "y.pt", "");
  CHECK(contains(refusal(four.folder.path(), Status::kInvalidArgument), "2 checkpoints in one folder"));
  CHECK(contains(refusal(four / "y.pt", Status::kFormat), "no PyTorch file"));
  const TemporaryFolder olmoe;
  write_olmoe_folder(olmoe.path(), find_architecture("olmoe")->tiny().front(), {});
  CHECK_THROWS_AS(read_model(olmoe.path(), olmoe.path()), const Error&);
  CHECK_THROWS_AS(read_model(four.x, olmoe.path()), const Error&);  // no dict.txt there
}
