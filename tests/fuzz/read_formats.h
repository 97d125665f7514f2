// Opens a model file and touches all that it hands out, so that a wrong view is a wrong read. A hostile file may make
// it throw Error and nothing else.
#pragma once

#include <cstdint>
#include <filesystem>

#include "formats/gguf.h"
#include "formats/gguf_vocabulary.h"
#include "formats/safetensors.h"
#include "formats/torch.h"
#include "tests/fuzz/expect.h"

namespace moiety::test {

// Sums up bytes; the sum is returned so that nothing is optimised away.
inline uint64_t sum(const void* data, size_t bytes) {
  uint64_t total = 0;
  for (size_t i = 0; i < bytes; ++i) total += static_cast<const uint8_t*>(data)[i];
  return total;
}

inline uint64_t touch_metadata(const GgufMetadata& metadata) {
  uint64_t total = 0;
  for (const GgufValue& value : metadata.values()) {
    total += sum(value.key.data(), value.key.size()) + sum(value.data.data(), value.data.size());
    expect_error_only([&] { total += metadata.get_i64(value.key).has_value(); });
    expect_error_only([&] { total += metadata.get_u32(value.key).has_value(); });
    expect_error_only([&] { total += metadata.get_f32(value.key).has_value(); });
    expect_error_only([&] { total += metadata.get_bool(value.key).has_value(); });
    expect_error_only([&] { total += metadata.get_string(value.key)->size(); });
    expect_error_only([&] { total += metadata.get_integers(value.key)->size(); });
    expect_error_only([&] { total += metadata.get_floats(value.key)->size(); });
    expect_error_only([&] {
      const auto texts = metadata.get_strings(value.key);
      for (std::string_view text : *texts) total += sum(text.data(), text.size());
    });
  }
  expect_error_only([&] {
    const GgufVocabulary vocabulary = check_gguf_vocabulary(metadata);
    for (std::string_view token : vocabulary.tokens) total += sum(token.data(), token.size());
  });
  return total;
}

inline uint64_t read_gguf(const std::filesystem::path& path) {
  const GgufFile file = open_gguf(path);
  uint64_t total = touch_metadata(file.metadata);
  for (const GgufTensor& tensor : file.tensors) {
    total += file.find(tensor.name)->offset + file.where(tensor).size();
    expect_error_only([&] {
      const Tensor view = file.view(tensor);
      total += sum(view.data, view.bytes());
    });
  }
  return total;
}

inline uint64_t read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file = open_safetensors(path);
  uint64_t total = file.metadata.size();
  for (const SafetensorsEntry& entry : file.entries) {
    total += file.find(entry.name)->offset + file.where(entry).size();
    expect_error_only([&] {
      const Tensor view = file.view(entry);
      total += sum(view.data, view.bytes());
    });
  }
  return total;
}

// A tree may contain itself: at most `budget` values are looked at.
inline uint64_t touch_pickle(PickleValue value, size_t& budget) {
  uint64_t total = 0;
  std::vector<PickleValue> stack{value};
  while (!stack.empty() && budget > 0) {
    --budget;
    const PickleValue next = stack.back();
    stack.pop_back();
    total += next.where().size() + next.symbol().size() + next.count() + next.has_members();
    if (const auto text = next.text()) total += sum(text->data(), text->size());
    if (const auto bytes = next.raw_bytes()) total += sum(bytes->data(), bytes->size());
    total += next.find("model").is_none() + next.number().has_value() + next.boolean().has_value();
    for (size_t i = 0; i < 4; ++i) {
      if (const PickleValue item = next.at(i)) stack.push_back(item);
    }
    for (const PickleValue part : {next.arguments(), next.state()}) {
      if (part) stack.push_back(part);
    }
  }
  return total;
}

inline uint64_t read_torch(const std::filesystem::path& path) {
  const TorchFile file(path);
  size_t budget = 10000;
  uint64_t total = touch_pickle(file.root(), budget);
  size_t tensors = 0;
  file.root().members([&](PickleValue key, PickleValue value) {
    if (++tensors > 1000) return;
    expect_error_only([&] {
      const TorchTensor tensor = file.tensor(value, key.text().value_or("?"));
      Buffer buffer;
      const Tensor copy = file.copy(tensor, buffer);
      total += sum(copy.data, copy.bytes());
      const Tensor view = file.view(tensor);
      total += sum(view.data, view.bytes());
    });
  });
  return total;
}

}  // namespace moiety::test
