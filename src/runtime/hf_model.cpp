#include "runtime/hf_model.h"

#include <algorithm>

#include "core/error.h"
#include "formats/safetensors.h"
#include "runtime/fairseq_keys.h"
#include "runtime/fairseq_model.h"
#include "runtime/hf_config.h"
#include "runtime/pack.h"
#include "text/tokenizer.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void add_tensors(const SafetensorsFile& file, ModelSource& out) {
  for (const auto& shard : file.shards) out.store.own(shard);
  for (const SafetensorsEntry& entry : file.entries) {
    if (entry.name.ends_with(".rotary_emb.inv_freq")) continue;  // older files; computed from the configuration
    if (!entry.dtype) {
      const auto shape = fmt::format("[{}]", fmt::join(entry.shape, ", "));
      out.store.add({entry.name, entry.dtype_name, shape, entry.bytes, file.where(entry)});
      continue;
    }
    out.store.add(entry.name, {file.view(entry), MemoryClass::kMapped, file.where(entry), entry.name});
  }
}

void add_packed(const GgufFile& file, ModelSource& out) {
  for (const auto& shard : file.shards) out.store.own(shard);
  for (const GgufTensor& tensor : file.tensors) {
    if (!is_packed_weight(tensor.name)) continue;
    const std::string name(tensor.name);
    out.store.add(name, {file.view(tensor), MemoryClass::kMapped, file.where(tensor), name});
  }
}

}  // namespace

ModelSource read_hf_model(const fs::path& folder) {
  ModelSource out;
  out.format = "safetensors";
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();  // "model/" too
  out.name = printable(named.filename().string());
  const MappedFile config(folder / "config.json");
  HfConfig read = read_hf_config(text_of(config), "config.json");
  out.config = std::move(read.config);
  out.warnings = std::move(read.warnings);
  std::error_code code;
  if (fs::exists(folder / "generation_config.json", code)) {
    const MappedFile generation(folder / "generation_config.json");
    for (int32_t id : read_generation_stops(text_of(generation), "generation_config.json")) {
      if (std::ranges::find(out.config.stop_ids, id) == out.config.stop_ids.end()) out.config.stop_ids.push_back(id);
    }
  }
  if (const fs::path packed = packed_weights_in(folder); !packed.empty()) {
    out.format = "panels";
    add_packed(open_gguf(packed), out);
  } else {
    add_tensors(open_safetensors(folder), out);
  }
  if (fs::exists(folder / "tokenizer.json", code)) {
    try {
      out.tokenizer = Tokenizer::from_folder(folder);
    } catch (const Error& error) {
      if (error.status() != Status::kUnsupported) throw;
      out.warnings.push_back(fmt::format("no tokenizer: {}", error.what()));
    }
  }
  if (!out.tokenizer && out.config.architecture == kFairseqArchitecture && has_fairseq_tokenizer(folder))
    out.tokenizer = read_fairseq_tokenizer(folder, out.config.vocab);
  return out;
}

}  // namespace moiety
