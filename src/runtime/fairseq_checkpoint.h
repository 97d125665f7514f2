// A fairseq checkpoint, its files put together: every parameter once, experts with their numbers over all files, and
// the settings it was trained with. Nothing is read but directories, pickles and a version number.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torch.h"
#include "runtime/fairseq_files.h"

namespace moiety {

struct FairseqTensor {
  std::string name;  // the checkpoint's key; of an expert with its number in the model: "decoder.layers.1.moe_layer.experts.5.fc1.weight"
  TorchTensor tensor;
  size_t file = 0;  // index into files
};

struct FairseqCheckpoint {
  std::vector<std::unique_ptr<TorchFile>> files;
  std::vector<FairseqTensor> tensors;  // no name twice
  int experts = 0;                     // of a layer; 0: a dense model
  double version = 0;                  // decoder.version; 0 where it is missing

  const FairseqTensor* find(std::string_view name) const;  // nullptr if absent

  // A setting of the model or task section: cfg's nested dicts, or the flat namespace `args` of older files. Absent
  // if nobody says.
  PickleValue setting(std::string_view name) const;
};

// Throws Error kIo (a missing file), kFormat (a broken or foreign one, naming it), kUnsupported (flat shards, with the
// remedy).
FairseqCheckpoint read_fairseq_checkpoint(const FairseqFiles& files);

}  // namespace moiety
