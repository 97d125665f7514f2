// Packing: a model of any format as a folder whose matrices lie as the kernels of small batches read them
// (core/panels.h), expert by expert with gate, up and down together, each tensor on pages of its own. Nothing is
// rounded: logits keep every bit. The folder loads by mapping alone, as any other model.
//
// Weights stand in panels.gguf, or in panels-00001-of-00003.gguf and so on: GGUF with types of our own. Its last
// tensor, moiety.checksums, has a hash of 64 bits of the header and of each tensor. Configuration and tokenizer stay
// what they were: a folder's JSON files are copied, GGUF keys too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/cancel.h"
#include "formats/gguf.h"
#include "runtime/model.h"

namespace moiety {

struct PackOptions {
  uint64_t shard_bytes = uint64_t{5} << 30;  // of the weights in a file, at most (one tensor may have more)
  int threads = 0;                           // 0: default_threads()
  std::filesystem::path vocabulary{};        // a folder with a fairseq model's vocabulary
  std::function<void(double)> progress{};    // told the part of the bytes that is done; may be empty
  const CancelToken* cancel = nullptr;       // Error kCancelled; files that are complete stay
};

struct PackResult {
  std::vector<std::filesystem::path> files;       // all of them
  size_t kept = 0;                                // of those that were there already
  std::map<std::string, uint64_t> packed, plain;  // bytes by type: "q4_0"; plain: what stays in rows
  std::vector<std::string> left_out;              // tensors of types that no model computes with
};

// Each file appears whole or not at all; a run that was stopped goes on with the first file that is missing. Throws
// Error kInvalidArgument if a file of another model stands in the way or is the model's own, or the model is packed
// already.
PackResult pack_model(const std::filesystem::path& model, const std::filesystem::path& output,
                      const PackOptions& options = {});

// The file of packed weights in a folder (the first of several), or empty.
std::filesystem::path packed_weights_in(const std::filesystem::path& folder);
bool is_packed(const GgufFile& file);
// False for the tensor that has the checksums: no weight.
bool is_packed_weight(std::string_view name);

// Reads every byte of a packed model (a folder, or one of its files) and compares the hashes. Throws Error kFormat
// naming the first tensor or file that is damaged, kInvalidArgument if the model is not packed. Returns the bytes read.
uint64_t verify_packed(const std::filesystem::path& model, const std::function<void(double)>& progress = {},
                       const CancelToken* cancel = nullptr);

}  // namespace moiety
