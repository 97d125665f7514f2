#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "formats/gguf.h"

namespace moiety {
namespace {

struct TypeInfo {
  const char* name;
  uint32_t bytes;
};

constexpr TypeInfo kTypes[] = {{"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
                               {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::kF32:
    case GgufType::kF64:
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray:
      return false;
    default:
      return true;
  }
}

// An integer and whether it is negative; a u64 keeps its bits.
struct Integer {
  uint64_t bits;
  bool negative;
};

Integer signed_integer(int64_t value) { return {static_cast<uint64_t>(value), value < 0}; }

Integer load_integer(GgufType type, const std::byte* p) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return {load<uint8_t>(p), false};
    case GgufType::kI8:
      return signed_integer(load<int8_t>(p));
    case GgufType::kU16:
      return {load<uint16_t>(p), false};
    case GgufType::kI16:
      return signed_integer(load<int16_t>(p));
    case GgufType::kU32:
      return {load<uint32_t>(p), false};
    case GgufType::kI32:
      return signed_integer(load<int32_t>(p));
    case GgufType::kU64:
      return {load<uint64_t>(p), false};
    default:
      return signed_integer(load<int64_t>(p));
  }
}

std::string type_of(const GgufValue& value) {
  return fmt::format("{}{}", value.is_array ? "an array of " : "", gguf_type_name(value.type));
}

std::string show(Integer value) {
  return value.negative ? fmt::format("{}", static_cast<int64_t>(value.bits)) : fmt::format("{}", value.bits);
}

}  // namespace

const char* gguf_type_name(GgufType type) { return kTypes[static_cast<size_t>(type)].name; }
uint64_t gguf_type_bytes(GgufType type) { return kTypes[static_cast<size_t>(type)].bytes; }

GgufMetadata::GgufMetadata(std::shared_ptr<const MappedFile> file, std::vector<GgufValue> values)
    : file_(std::move(file)),
      values_(std::move(values)),
      index_(values_.size(), [this](size_t i) { return values_[i].key; }) {
  if (const auto twice = index_.duplicate()) {
    fail(Status::kFormat, "{} stands twice", where(values_[twice->second]));
  }
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto at = index_.find(key, [&](size_t i) { return values_[i].key; });
  return at ? &values_[*at] : nullptr;
}

std::string GgufMetadata::where(const GgufValue& value) const {
  const auto* base = reinterpret_cast<const char*>(file_->bytes().data());
  return fmt::format("{} @{:#x}: key '{}'", printable(file_->name()), value.key.data() - base, printable(value.key));
}

void GgufMetadata::reject(std::string_view key, const std::string& what) const {
  const GgufValue* value = find(key);
  if (value) fail(Status::kFormat, "{}: {}", where(*value), what);
  fail(Status::kFormat, "{} @0x18: key '{}': {}", printable(file_ ? file_->name() : "no file"), printable(key), what);
}

const GgufValue& GgufMetadata::require(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) reject(key, "is missing");
  return *value;
}

std::optional<uint64_t> GgufMetadata::get_u64(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (value->is_array || !is_integer(value->type)) reject(key, "expected an integer, got " + type_of(*value));
  const Integer number = load_integer(value->type, value->data.data());
  if (number.negative) reject(key, "expected an unsigned number, got " + show(number));
  return number.bits;
}

std::optional<int64_t> GgufMetadata::get_i64(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (value->is_array || !is_integer(value->type)) reject(key, "expected an integer, got " + type_of(*value));
  const Integer number = load_integer(value->type, value->data.data());
  if (!number.negative && number.bits > INT64_MAX) reject(key, "expected at most 2^63-1, got " + show(number));
  return static_cast<int64_t>(number.bits);
}

std::optional<uint32_t> GgufMetadata::get_u32(std::string_view key) const {
  const std::optional<uint64_t> value = get_u64(key);
  if (value && *value > UINT32_MAX) reject(key, fmt::format("expected at most {}, got {}", UINT32_MAX, *value));
  return value ? std::optional(static_cast<uint32_t>(*value)) : std::nullopt;
}

std::optional<float> GgufMetadata::get_f32(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (value->is_array || (value->type != GgufType::kF32 && value->type != GgufType::kF64)) {
    reject(key, "expected f32, got " + type_of(*value));
  }
  const float number = value->type == GgufType::kF32 ? load<float>(value->data.data())
                                                     : static_cast<float>(load<double>(value->data.data()));
  if (!std::isfinite(number)) reject(key, fmt::format("expected a finite number, got {}", number));
  return number;
}

std::optional<bool> GgufMetadata::get_bool(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (value->is_array || value->type != GgufType::kBool) reject(key, "expected bool, got " + type_of(*value));
  return load<uint8_t>(value->data.data()) != 0;
}

std::optional<std::string_view> GgufMetadata::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (value->is_array || value->type != GgufType::kString) reject(key, "expected string, got " + type_of(*value));
  return std::string_view(reinterpret_cast<const char*>(value->data.data()) + 8, value->data.size() - 8);
}

std::optional<std::vector<int64_t>> GgufMetadata::get_integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_array || (!is_integer(value->type) && value->type != GgufType::kBool)) {
    reject(key, "expected an array of integers, got " + type_of(*value));
  }
  std::vector<int64_t> out(value->count);
  const uint64_t size = gguf_type_bytes(value->type);
  for (size_t i = 0; i < out.size(); ++i) {
    const Integer number = load_integer(value->type, value->data.data() + i * size);
    if (!number.negative && number.bits > INT64_MAX) reject(key, fmt::format("value {} is {}", i, show(number)));
    out[i] = static_cast<int64_t>(number.bits);
  }
  return out;
}

std::optional<std::vector<float>> GgufMetadata::get_floats(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_array || (value->type != GgufType::kF32 && value->type != GgufType::kF64)) {
    reject(key, "expected an array of f32, got " + type_of(*value));
  }
  std::vector<float> out(value->count);
  const std::byte* data = value->data.data();
  if (value->type == GgufType::kF32) {
    if (!out.empty()) std::memcpy(out.data(), data, value->data.size());
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(load<double>(data + 8 * i));
  }
  return out;
}

std::optional<std::vector<std::string_view>> GgufMetadata::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_array || value->type != GgufType::kString) {
    reject(key, "expected an array of strings, got " + type_of(*value));
  }
  std::vector<std::string_view> out(value->count);
  const std::byte* at = value->data.data();  // lengths were checked when the file was opened
  for (std::string_view& text : out) {
    const auto length = load<uint64_t>(at);
    text = {reinterpret_cast<const char*>(at) + 8, length};
    at += 8 + length;
  }
  return out;
}

uint32_t GgufMetadata::require_u32(std::string_view key) const {
  require(key);
  return *get_u32(key);
}

uint32_t GgufMetadata::require_u32(std::string_view key, uint32_t low, uint32_t high) const {
  const uint32_t value = require_u32(key);
  if (value < low || value > high) reject(key, fmt::format("expected {} to {}, got {}", low, high, value));
  return value;
}

float GgufMetadata::require_f32(std::string_view key) const {
  require(key);
  return *get_f32(key);
}

std::string_view GgufMetadata::require_string(std::string_view key) const {
  require(key);
  return *get_string(key);
}

std::vector<std::string_view> GgufMetadata::require_strings(std::string_view key) const {
  require(key);
  return *get_strings(key);
}

}  // namespace moiety
