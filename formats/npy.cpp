#include "formats/npy.h"

#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "core/checked.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "formats/output_file.h"

namespace moiety {
namespace {

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);

// Writes all but the values; returns how many must follow.
uint64_t write_header(OutputFile& file, const std::filesystem::path& path, const char* descr,
                      std::span<const int64_t> shape) {
  std::optional<uint64_t> count = 1;
  std::string dims;
  for (int64_t dim : shape) {
    count = dim >= 0 && count ? checked_mul(*count, static_cast<uint64_t>(dim)) : std::nullopt;
    dims += fmt::format("{}, ", dim);
  }
  if (!count) fail(Status::kInvalidArgument, "{}: shape ({}) is no shape", printable(path.string()), dims);
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, dims);
  header.resize((kMagic.size() + 2 + header.size() + 1 + 63) / 64 * 64 - kMagic.size() - 3, ' ');
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  file.write(kMagic.data(), kMagic.size());
  file.write(&length, 2);
  file.write(header.data(), header.size());
  return *count;
}

template <class T>
void write_array(const std::filesystem::path& path, const char* descr, std::span<const T> values,
                 std::span<const int64_t> shape) {
  OutputFile file(path);
  if (write_header(file, path, descr, shape) != values.size()) {
    fail(Status::kInvalidArgument, "{}: shape ({}) does not hold {} values", printable(path.string()),
         fmt::join(shape, ", "), values.size());
  }
  file.write(std::as_bytes(values));
  file.commit();
}

// What follows "'key':" in the header, without blanks in front.
std::string_view header_value(std::string_view header, std::string_view key, const std::string& name) {
  const std::string quoted = fmt::format("'{}':", key);
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) fail(Status::kFormat, "{} @0xa: the header has no {}", name, key);
  header.remove_prefix(at + quoted.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

std::vector<int64_t> read_shape(std::string_view text, const std::string& name) {
  std::vector<int64_t> shape;
  if (text.empty() || text.front() != '(') fail(Status::kFormat, "{} @0xa: shape is not a tuple", name);
  text.remove_prefix(1);
  while (true) {
    while (!text.empty() && (text.front() == ' ' || text.front() == ',')) text.remove_prefix(1);
    if (!text.empty() && text.front() == ')') return shape;
    int64_t dim = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), dim);
    if (code != std::errc{} || dim < 0) fail(Status::kFormat, "{} @0xa: shape holds no valid number", name);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    shape.push_back(dim);
  }
}

template <class T>
void convert(const std::byte* data, std::vector<double>& out) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(value);
  }
}

}  // namespace

void write_npy(const std::filesystem::path& path, std::span<const float> values, std::span<const int64_t> shape) {
  write_array(path, "<f4", values, shape);
}
void write_npy(const std::filesystem::path& path, std::span<const double> values, std::span<const int64_t> shape) {
  write_array(path, "<f8", values, shape);
}
void write_npy(const std::filesystem::path& path, std::span<const int32_t> values, std::span<const int64_t> shape) {
  write_array(path, "<i4", values, shape);
}

NpyWriter::NpyWriter(const std::filesystem::path& path, std::span<const int64_t> shape)
    : file_(path), path_(path), missing_(write_header(file_, path, "<f4", shape)) {}

void NpyWriter::write(std::span<const float> values) {
  if (values.size() > missing_) {
    fail(Status::kInvalidArgument, "{}: {} values, but the shape leaves room for {}", printable(path_.string()),
         values.size(), missing_);
  }
  missing_ -= values.size();
  file_.write(std::as_bytes(values));
}

void NpyWriter::commit() {
  if (missing_ != 0) {
    fail(Status::kInvalidArgument, "{}: {} values of the shape are missing", printable(path_.string()), missing_);
  }
  file_.commit();
}

NpyArray read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  return read_npy(file.bytes(), printable(file.name()));
}

NpyArray read_npy(std::span<const std::byte> file, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.size() < 10 || text.substr(0, 8) != kMagic)
    fail(Status::kFormat, "{} @0x0: not a .npy file of version 1.0", name);
  uint16_t length;
  std::memcpy(&length, text.data() + 8, 2);
  if (length > text.size() - 10)
    fail(Status::kFormat, "{} @0x8: header length {}, but {} bytes remain", name, length, text.size() - 10);
  const std::string_view header = text.substr(10, length), type = header_value(header, "descr", name);
  if (!header_value(header, "fortran_order", name).starts_with("False"))
    fail(Status::kFormat, "{} @0xa: Fortran order is not supported", name);
  NpyArray out;
  const auto is = [&](auto... types) { return (type.starts_with(types) || ...); };
  if (!is("'<f4'", "'<f8'", "'<i4'", "'|b1'")) {
    fail(Status::kFormat, "{} @0xa: expected the type <f4, <f8, <i4 or |b1", name);
  }
  out.kind = type[2];
  out.item_bytes = static_cast<uint32_t>(type[3] - '0');
  out.shape = read_shape(header_value(header, "shape", name), name);
  std::optional<uint64_t> bytes = out.item_bytes;
  for (int64_t dim : out.shape) bytes = bytes ? checked_mul(*bytes, static_cast<uint64_t>(dim)) : std::nullopt;
  const uint64_t data = 10u + length;
  if (!bytes || *bytes != file.size() - data) {
    fail(Status::kFormat, "{} @{:#x}: the shape does not agree with {} bytes of data", name, data, file.size() - data);
  }
  out.values.resize(*bytes / out.item_bytes);
  const std::byte* values = file.data() + data;
  if (out.kind == 'b')
    convert<uint8_t>(values, out.values);
  else if (out.kind == 'i')
    convert<int32_t>(values, out.values);
  else if (out.item_bytes == 4)
    convert<float>(values, out.values);
  else
    convert<double>(values, out.values);
  return out;
}

}  // namespace moiety
