#include "formats/safetensors_writer.h"

#include <algorithm>

#include "core/checked.h"
#include "core/error.h"

namespace moiety {
namespace {

const char* type_name(DType type) {
  switch (type) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI32:
      return "I32";
    default:
      fail(Status::kInvalidArgument, "safetensors writer: it has no type for {}", dtype_info(type).name);
  }
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

}  // namespace

void SafetensorsWriter::add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape) {
  const std::string shown = printable(name);
  if (header_written_) fail(Status::kInvalidArgument, "safetensors writer: tensor '{}' after the first byte", shown);
  if (name.empty() || name == "__metadata__" || name.find('\0') != std::string_view::npos) {
    fail(Status::kInvalidArgument, "safetensors writer: a tensor cannot have the name '{}'", shown);
  }
  std::optional<uint64_t> bytes = dtype_info(dtype).bytes;
  std::string dims;
  for (int64_t dim : shape) {
    if (dim < 0) fail(Status::kInvalidArgument, "safetensors writer: tensor '{}' has a dim of {}", shown, dim);
    if (bytes) bytes = checked_mul(*bytes, static_cast<uint64_t>(dim));
    dims += fmt::format("{}{}", dims.empty() ? "" : ",", dim);
  }
  const auto end = bytes ? checked_add(bytes_, *bytes) : std::nullopt;
  if (!end) fail(Status::kInvalidArgument, "safetensors writer: tensor '{}' is too large", shown);
  names_.emplace_back(name);
  parts_.push_back(fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", json_string(name),
                               type_name(dtype), dims, bytes_, *end));
  bytes_ = *end;
}

void SafetensorsWriter::write_header() {
  std::vector<std::string> names = names_;
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) fail(Status::kInvalidArgument, "safetensors writer: tensor '{}' twice", printable(*twice));
  header_written_ = true;
  std::string header = "{";
  if (!metadata_.empty()) {
    std::string members;
    for (const auto& [key, value] : metadata_)
      members += (members.empty() ? "" : ",") + json_string(key) + ":" + json_string(value);
    header += "\"__metadata__\":{" + members + "}";
  }
  for (const std::string& part : parts_) header += (header.size() > 1 ? "," : "") + part;
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of 8
  const uint64_t length = header.size();
  file_.write(&length, 8);
  file_.write(header.data(), header.size());
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (!header_written_) write_header();
  if (bytes.size() > bytes_ - written_)
    fail(Status::kInvalidArgument, "safetensors writer: bytes behind the last tensor");
  file_.write(bytes);
  written_ += bytes.size();
}

void SafetensorsWriter::commit() {
  if (!header_written_) write_header();
  if (written_ != bytes_)
    fail(Status::kInvalidArgument, "safetensors writer: {} of {} bytes were written", written_, bytes_);
  file_.commit();
}

void write_safetensors_index(const std::filesystem::path& path,
                             std::span<const std::pair<std::string, std::string>> weights, uint64_t total_bytes) {
  std::string text = fmt::format("{{\n  \"metadata\": {{\"total_size\": {}}},\n  \"weight_map\": {{", total_bytes);
  const char* separator = "\n";
  for (const auto& [name, shard] : weights) {
    text += fmt::format("{}    {}: {}", separator, json_string(name), json_string(shard));
    separator = ",\n";
  }
  text += "\n  }\n}\n";
  OutputFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace moiety
