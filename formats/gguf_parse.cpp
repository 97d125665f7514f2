#include "formats/gguf_parse.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/checked.h"
#include "core/error.h"
#include "core/panels.h"

namespace moiety {
namespace {

constexpr uint64_t kMaxString = uint64_t{64} << 20, kMaxKey = 65535, kMaxName = 128;
// More records than any model has; keeps what we allocate below four times the file.
constexpr uint64_t kMaxRecords = uint64_t{1} << 22;
constexpr uint64_t kMinValueRecord = 8 + 1 + 4 + 1;           // key length, key, type, value
constexpr uint64_t kMinTensorRecord = 8 + 1 + 4 + 8 + 4 + 8;  // name length, name, rank, one dim, type, offset
constexpr uint64_t kMaxAlignment = 65536, kDefaultAlignment = 32;

// Reads the header front to back. `field` says in errors what was being read.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file), bytes_(file.bytes()) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <class... Args>
  [[noreturn]] void error(uint64_t offset, fmt::format_string<Args...> format, Args&&... args) const {
    fail(Status::kFormat, "{} @{:#x}: {}", printable(file_.name()), offset,
         fmt::format(format, std::forward<Args>(args)...));
  }

  std::span<const std::byte> take(uint64_t count, std::string_view field) {
    if (count > remaining()) {
      error(position_, "{} needs {} bytes, but the file ends after {}", field, count, remaining());
    }
    const auto out = bytes_.subspan(position_, count);
    position_ += count;
    return out;
  }

  template <class T>
  T number(std::string_view field) {
    T value;
    std::memcpy(&value, take(sizeof value, field).data(), sizeof value);
    return value;
  }

  std::string_view string(uint64_t limit, std::string_view field) {
    const uint64_t at = position_, length = number<uint64_t>(field);
    if (length > limit) error(at, "{} has length {}, limit {}", field, length, limit);
    if (length > remaining()) error(at, "{} has length {}, but {} bytes remain", field, length, remaining());
    const auto bytes = take(length, field);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  const MappedFile& file_;
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

uint32_t read_version(Cursor& in) {
  const auto magic = in.take(4, "magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    if (std::memcmp(magic.data(), "FUGG", 4) == 0) in.error(0, "a big-endian GGUF file is not supported");
    in.error(0, "not a GGUF file: expected the magic 'GGUF', got '{}'",
             printable({reinterpret_cast<const char*>(magic.data()), 4}));
  }
  const auto version = in.number<uint32_t>("version");
  if (version == 2 || version == 3) return version;
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= 3) in.error(4, "a big-endian GGUF file (version {}) is not supported", swapped);
  in.error(4, "GGUF version {} is not supported, expected 2 or 3", version);
}

uint64_t read_count(Cursor& in, std::string_view field, uint64_t smallest_record) {
  const uint64_t at = in.position(), count = in.number<uint64_t>(field);
  // The tensor count stands before the key count: both are checked against what is left when their records begin.
  if (count > in.remaining() / smallest_record) {
    in.error(at, "{} is {}, but {} bytes remain, at least {} each", field, count, in.remaining(), smallest_record);
  }
  if (count > kMaxRecords) in.error(at, "{} is {}, limit {}", field, count, kMaxRecords);
  return count;
}

GgufType read_type(Cursor& in, std::string_view key) {
  const uint64_t at = in.position();
  const auto type = in.number<uint32_t>("value type");
  if (type > static_cast<uint32_t>(GgufType::kF64))
    in.error(at, "key '{}' has the unknown value type {}", printable(key), type);
  return static_cast<GgufType>(type);
}

void check_bools(const Cursor& in, uint64_t at, const GgufValue& value) {
  for (size_t i = 0; i < value.data.size(); ++i) {
    const auto byte = static_cast<unsigned>(value.data[i]);
    if (byte > 1) in.error(at + i, "key '{}': expected a bool of 0 or 1, got {}", printable(value.key), byte);
  }
}

// The payload of a value whose key and type are known.
void read_payload(Cursor& in, GgufValue& value) {
  const uint64_t size = gguf_type_bytes(value.type), at = in.position();
  if (value.is_array) {
    const uint64_t smallest = size ? size : 8;  // a string is at least its length
    if (value.count > in.remaining() / smallest) {
      in.error(at - 8, "key '{}': an array of {} {} values, but {} bytes remain", printable(value.key), value.count,
               gguf_type_name(value.type), in.remaining());
    }
  }
  if (size) {
    value.data = in.take(size * value.count, "value");
    if (value.type == GgufType::kBool) check_bools(in, at, value);
    return;
  }
  Cursor walk = in;
  for (uint64_t i = 0; i < value.count; ++i) walk.string(kMaxString, "string value");
  value.data = in.take(walk.position() - at, "strings");
}

GgufValue read_value(Cursor& in) {
  GgufValue value;
  const uint64_t at = in.position();
  value.key = in.string(kMaxKey, "key");
  if (value.key.empty()) in.error(at, "a key is empty");
  value.type = read_type(in, value.key);
  value.count = 1;
  if (value.type == GgufType::kArray) {
    const uint64_t type_at = in.position();
    value.is_array = true;
    value.type = read_type(in, value.key);
    if (value.type == GgufType::kArray)
      in.error(type_at, "key '{}': arrays of arrays are not supported", printable(value.key));
    value.count = in.number<uint64_t>("array length");
  }
  read_payload(in, value);
  return value;
}

uint64_t alignment_of(const GgufMetadata& metadata) {
  const GgufValue* value = metadata.find("general.alignment");
  if (!value) return kDefaultAlignment;
  if (value->is_array || value->type != GgufType::kU32) {
    metadata.reject("general.alignment", fmt::format("expected a u32, got {}{}", value->is_array ? "an array of " : "",
                                                     gguf_type_name(value->type)));
  }
  const uint32_t alignment = *metadata.get_u32("general.alignment");
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    metadata.reject("general.alignment",
                    fmt::format("expected a power of two of at most {}, got {}", kMaxAlignment, alignment));
  }
  return alignment;
}

struct GgmlType {
  uint32_t id;
  const char* name;
  std::optional<DType> dtype;  // nothing: known, but not supported
  uint32_t block, bytes;       // where there is no dtype to say it

  uint32_t block_size() const { return dtype ? dtype_info(*dtype).block : block; }
  uint32_t block_bytes() const { return dtype ? dtype_info(*dtype).bytes : bytes; }
};

constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", DType::kF32, 0, 0},
    {1, "F16", DType::kF16, 0, 0},
    {2, "Q4_0", DType::kQ4_0, 0, 0},
    {3, "Q4_1", DType::kQ4_1, 0, 0},
    {6, "Q5_0", DType::kQ5_0, 0, 0},
    {7, "Q5_1", DType::kQ5_1, 0, 0},
    {8, "Q8_0", DType::kQ8_0, 0, 0},
    {9, "Q8_1", {}, 32, 36},
    {10, "Q2_K", DType::kQ2_K, 0, 0},
    {11, "Q3_K", DType::kQ3_K, 0, 0},
    {12, "Q4_K", DType::kQ4_K, 0, 0},
    {13, "Q5_K", DType::kQ5_K, 0, 0},
    {14, "Q6_K", DType::kQ6_K, 0, 0},
    {15, "Q8_K", {}, 256, 292},
    {16, "IQ2_XXS", {}, 256, 66},
    {17, "IQ2_XS", {}, 256, 74},
    {18, "IQ3_XXS", {}, 256, 98},
    {19, "IQ1_S", {}, 256, 50},
    {20, "IQ4_NL", DType::kIQ4_NL, 0, 0},
    {21, "IQ3_S", {}, 256, 110},
    {22, "IQ2_S", {}, 256, 82},
    {23, "IQ4_XS", DType::kIQ4_XS, 0, 0},
    {24, "I8", {}, 1, 1},
    {25, "I16", {}, 1, 2},
    {26, "I32", DType::kI32, 0, 0},
    {27, "I64", {}, 1, 8},
    {28, "F64", {}, 1, 8},
    {29, "IQ1_M", {}, 256, 56},
    {30, "BF16", DType::kBF16, 0, 0},
    {34, "TQ1_0", {}, 256, 54},
    {35, "TQ2_0", {}, 256, 66},
    {39, "MXFP4", DType::kMXFP4, 0, 0},
    {40, "NVFP4", {}, 64, 36},
    {41, "Q1_0", {}, 128, 18},
};

const GgmlType& read_ggml_type(Cursor& in, GgufTensor& tensor) {
  const uint64_t at = in.position();
  const auto id = in.number<uint32_t>("tensor type");
  const bool panels = (id & 0xffff0000u) == kGgufPanels;
  const auto type = std::ranges::find(kGgmlTypes, panels ? id & 0xffffu : id, &GgmlType::id);
  const std::string_view name = tensor.name;
  if (type != std::end(kGgmlTypes)) {
    if (panels && (!type->dtype || !has_panels(*type->dtype)))
      in.error(at, "tensor '{}' is in panels, which {} has not", printable(name), type->name);
    if (panels) tensor.layout = Layout::kPanels;
    return *type;
  }
  in.error(at, "tensor '{}' has the unknown type {}", printable(name), static_cast<int32_t>(id));
}

// Dims as the file lists them (innermost first), and where each stands.
void read_shape(Cursor& in, GgufTensor& tensor, uint64_t& elements) {
  const uint64_t at = in.position();
  tensor.rank = in.number<uint32_t>("number of dimensions");
  if (tensor.rank < 1 || tensor.rank > kMaxRank) {
    in.error(at, "tensor '{}' has {} dimensions, expected 1 to {}", printable(tensor.name), tensor.rank, kMaxRank);
  }
  elements = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    const uint64_t dim_at = in.position(), dim = in.number<uint64_t>("dimension");
    const auto product = checked_mul(elements, dim);
    if (dim == 0) in.error(dim_at, "tensor '{}' dim {} is 0", printable(tensor.name), i);
    if (dim > INT64_MAX || !product || *product > INT64_MAX) {
      in.error(dim_at, "tensor '{}' dim {} is {}: the number of elements exceeds 2^63", printable(tensor.name), i, dim);
    }
    elements = *product;
    tensor.shape[tensor.rank - 1 - i] = static_cast<int64_t>(dim);
  }
}

// Bytes of a matrix in panels; nothing where they exceed 2^64.
std::optional<uint64_t> bytes_in_panels(const GgufTensor& tensor) {
  constexpr int64_t kMostColumns = int64_t{1} << 48;  // times the bytes of a column of a panel: no overflow
  const auto rows = static_cast<uint64_t>(tensor.shape[0]);
  if (tensor.shape[1] > kMostColumns) return std::nullopt;
  const auto panel = static_cast<uint64_t>(panel_parts(*tensor.dtype, tensor.shape[1]).bytes);
  return checked_mul((rows - 1) / kPanelRows + 1, panel);
}

GgufTensor read_tensor(Cursor& in, uint64_t alignment) {
  GgufTensor tensor;
  const uint64_t at = in.position();
  tensor.name = in.string(kMaxName, "tensor name");
  if (tensor.name.empty()) in.error(at, "a tensor name is empty");
  uint64_t elements;
  const uint64_t shape_at = in.position() + 4;
  read_shape(in, tensor, elements);
  const GgmlType& type = read_ggml_type(in, tensor);
  tensor.dtype = type.dtype;
  tensor.type_name = type.name;
  const int64_t row = tensor.shape[tensor.rank - 1];
  if (row % type.block_size() != 0) {
    in.error(shape_at, "tensor '{}' has rows of {} values, but {} comes in blocks of {}", printable(tensor.name), row,
             type.name, type.block_size());
  }
  if (tensor.layout == Layout::kPanels && tensor.rank != 2)
    in.error(shape_at - 4, "tensor '{}' is in panels and has {} dimensions, expected 2", printable(tensor.name), tensor.rank);
  const auto bytes = tensor.layout == Layout::kPanels
                         ? bytes_in_panels(tensor)
                         : checked_mul(elements / type.block_size(), type.block_bytes());
  if (!bytes) in.error(shape_at, "tensor '{}': its size in bytes exceeds 2^64", printable(tensor.name));
  tensor.bytes = *bytes;
  const uint64_t offset_at = in.position();
  tensor.offset = in.number<uint64_t>("tensor offset");
  if (tensor.offset % alignment != 0) {
    in.error(offset_at, "tensor '{}' has the offset {}, not a multiple of {}", printable(tensor.name), tensor.offset,
             alignment);
  }
  return tensor;
}

// Makes offsets absolute and checks that the regions lie in the file and do not overlap.
void place_tensors(const Cursor& in, uint64_t alignment, uint64_t file_size, std::vector<GgufTensor>& tensors) {
  const auto data = checked_align(in.position(), alignment);
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return tensors[a].offset < tensors[b].offset; });
  const GgufTensor* before = nullptr;
  for (uint32_t i : order) {
    GgufTensor& tensor = tensors[i];
    const auto offset = data ? checked_add(*data, tensor.offset) : std::nullopt;
    if (!offset || !in_range(*offset, tensor.bytes, file_size)) {
      in.error(data.value_or(0), "tensor '{}' takes {} bytes at offset {} of the data, but the file has {} bytes",
               printable(tensor.name), tensor.bytes, tensor.offset, file_size);
    }
    tensor.offset = *offset;
    if (before && tensor.offset < before->offset + before->bytes) {
      in.error(tensor.offset, "tensor '{}' overlaps tensor '{}', which takes {} bytes at {:#x}", printable(tensor.name),
               printable(before->name), before->bytes, before->offset);
    }
    before = &tensor;
  }
}

}  // namespace

GgufShard parse_gguf(std::shared_ptr<MappedFile> file) {
  Cursor in(*file);
  GgufShard shard;
  shard.file = file;
  shard.version = read_version(in);
  const uint64_t tensors = read_count(in, "tensor count", kMinTensorRecord);
  const uint64_t keys = read_count(in, "metadata count", kMinValueRecord);
  std::vector<GgufValue> values;
  values.reserve(keys);
  for (uint64_t i = 0; i < keys; ++i) values.push_back(read_value(in));
  shard.metadata = GgufMetadata(file, std::move(values));
  const uint64_t alignment = alignment_of(shard.metadata);
  if (tensors > in.remaining() / kMinTensorRecord) {
    in.error(8, "tensor count is {}, but {} bytes remain, at least {} each", tensors, in.remaining(), kMinTensorRecord);
  }
  shard.tensors.reserve(tensors);
  for (uint64_t i = 0; i < tensors; ++i) shard.tensors.push_back(read_tensor(in, alignment));
  place_tensors(in, alignment, file->size(), shard.tensors);
  return shard;
}

}  // namespace moiety
