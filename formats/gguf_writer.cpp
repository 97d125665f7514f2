#include "formats/gguf_writer.h"

#include <algorithm>
#include <bit>

#include "core/checked.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/panels.h"

namespace moiety {
namespace {

uint32_t ggml_type(DType type) {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ5_0:
      return 6;
    case DType::kQ5_1:
      return 7;
    case DType::kQ8_0:
      return 8;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 11;
    case DType::kQ4_K:
      return 12;
    case DType::kQ5_K:
      return 13;
    case DType::kQ6_K:
      return 14;
    case DType::kIQ4_NL:
      return 20;
    case DType::kIQ4_XS:
      return 23;
    case DType::kI32:
      return 26;
    case DType::kBF16:
      return 30;
    case DType::kMXFP4:
      return 39;
  }
  fail(Status::kInternal, "GGUF writer: unknown type {}", static_cast<int>(type));
}

}  // namespace

void GgufWriter::put_string(std::string& out, std::string_view text) {
  const uint64_t length = text.size();
  put(out, &length, sizeof length);
  out += text;
}

void GgufWriter::begin_value(std::string_view key) {
  if (header_written_)
    fail(Status::kInvalidArgument, "GGUF writer: key '{}' after the first tensor byte", printable(key));
  if (key.empty() || key.size() > 65535) fail(Status::kInvalidArgument, "GGUF writer: a key of {} bytes", key.size());
  names_.emplace_back(key);
  put_string(metadata_, key);
  ++keys_;
}

void GgufWriter::scalar(std::string_view key, GgufType type, const void* data, size_t bytes) {
  begin_value(key);
  put(metadata_, &type, 4);
  put(metadata_, data, bytes);
}

void GgufWriter::array(std::string_view key, GgufType type, const void* data, size_t count) {
  begin_value(key);
  const GgufType outer = GgufType::kArray;
  const uint64_t length = count;
  put(metadata_, &outer, 4);
  put(metadata_, &type, 4);
  put(metadata_, &length, 8);
  put(metadata_, data, count * gguf_type_bytes(type));
}

void GgufWriter::set_string(std::string_view key, std::string_view value) {
  begin_value(key);
  const GgufType type = GgufType::kString;
  put(metadata_, &type, 4);
  put_string(metadata_, value);
}

void GgufWriter::set_strings(std::string_view key, std::span<const std::string_view> values) {
  array(key, GgufType::kString, nullptr, 0);
  const uint64_t count = values.size();
  metadata_.replace(metadata_.size() - 8, 8, reinterpret_cast<const char*>(&count), 8);
  for (std::string_view value : values) put_string(metadata_, value);
}

void GgufWriter::copy(const GgufValue& value) {
  begin_value(value.key);
  const GgufType outer = GgufType::kArray;
  if (value.is_array) put(metadata_, &outer, 4);
  put(metadata_, &value.type, 4);
  if (value.is_array) put(metadata_, &value.count, 8);
  put(metadata_, value.data.data(), value.data.size());
}

void GgufWriter::set_alignment(uint32_t alignment) {
  if (!std::has_single_bit(alignment) || alignment > 65536 || !tensors_.empty()) {
    fail(Status::kInvalidArgument, "GGUF writer: alignment {}: expected a power of two up to 65536, set before tensors",
         alignment);
  }
  set_u32("general.alignment", alignment);
  alignment_ = alignment;
}

void GgufWriter::set_split(uint16_t number, uint16_t count, int32_t tensors_in_all) {
  set_u16("split.no", number);
  set_u16("split.count", count);
  set_i32("split.tensors.count", tensors_in_all);
}

void GgufWriter::add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape, Layout layout) {
  const std::string shown = printable(name);
  if (header_written_) fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' after the first tensor byte", shown);
  const bool panels = layout == Layout::kPanels;
  if (name.empty() || name.size() > longest_name_)
    fail(Status::kInvalidArgument, "GGUF writer: tensor name '{}' has {} bytes, expected 1 to {}", shown, name.size(),
         longest_name_);
  if (panels && (!has_panels(dtype) || shape.size() != 2))
    fail(Status::kInvalidArgument, "GGUF writer: tensor '{}': no panels of {} in {} dims", shown, dtype_info(dtype).name,
         shape.size());
  if (shape.empty() || shape.size() > static_cast<size_t>(kMaxRank)) {
    fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' has rank {}, expected 1 to {}", shown, shape.size(),
         kMaxRank);
  }
  const DTypeInfo& info = dtype_info(dtype);
  std::optional<uint64_t> elements = 1;
  for (int64_t dim : shape) {
    if (dim <= 0) fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' has a dim of {}", shown, dim);
    if (elements) elements = checked_mul(*elements, static_cast<uint64_t>(dim));
  }
  if (shape.back() % info.block != 0) {
    fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' has rows of {}, {} needs multiples of {}", shown,
         shape.back(), info.name, info.block);
  }
  const auto bytes = !elements ? std::nullopt
                     : panels  ? std::optional<uint64_t>(make_panels(nullptr, dtype, shape[0], shape[1]).bytes())
                               : checked_mul(*elements / info.block, info.bytes);
  const auto end = bytes ? checked_add(offset_, *bytes) : std::nullopt;
  const auto next = end ? checked_align(*end, alignment_) : std::nullopt;
  if (!next) fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' is too large", shown);

  const auto rank = static_cast<uint32_t>(shape.size());
  const uint32_t type = ggml_type(dtype) + (panels ? kGgufPanels : 0);
  put_string(infos_, name);
  put(infos_, &rank, 4);
  for (size_t i = shape.size(); i-- > 0;) put(infos_, &shape[i], 8);
  put(infos_, &type, 4);
  put(infos_, &offset_, 8);
  tensors_.push_back({std::string(name), *bytes});
  offset_ = *next;
}

void GgufWriter::write_header() {
  const auto check_unique = [](std::vector<std::string> names, const char* what) {
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail(Status::kInvalidArgument, "GGUF writer: {} '{}' twice", what, printable(*twice));
  };
  std::vector<std::string> tensor_names;
  for (const Entry& tensor : tensors_) tensor_names.push_back(tensor.name);
  check_unique(names_, "key");
  check_unique(std::move(tensor_names), "tensor");
  header_written_ = true;
  const uint32_t version = 3;
  const uint64_t tensors = tensors_.size();
  std::string header = "GGUF";
  put(header, &version, 4);
  put(header, &tensors, 8);
  put(header, &keys_, 8);
  header += metadata_;
  header += infos_;
  header.resize((header.size() + alignment_ - 1) / alignment_ * alignment_);
  Hash hash;
  hash.add(std::string_view(header));
  header_hash_ = hash.value();
  file_.write(header.data(), header.size());
}

void GgufWriter::pad() { file_.write_zeros((alignment_ - file_.position() % alignment_) % alignment_); }

void GgufWriter::write(std::span<const std::byte> bytes) {
  if (!header_written_) write_header();
  while (!bytes.empty()) {
    if (current_ == tensors_.size()) {
      fail(Status::kInvalidArgument, "GGUF writer: {} bytes behind the last tensor", bytes.size());
    }
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes.size(), tensors_[current_].bytes - written_));
    file_.write(bytes.first(n));
    bytes = bytes.subspan(n);
    written_ += n;
    if (written_ == tensors_[current_].bytes) {
      pad();
      ++current_;
      written_ = 0;
    }
  }
}

void GgufWriter::commit() {
  if (!header_written_) write_header();
  if (current_ != tensors_.size()) {
    fail(Status::kInvalidArgument, "GGUF writer: tensor '{}' has {} of {} bytes", printable(tensors_[current_].name),
         written_, tensors_[current_].bytes);
  }
  file_.commit();
}

}  // namespace moiety
