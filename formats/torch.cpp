#include "formats/torch.h"

#include <algorithm>
#include <cstring>

#include "core/checked.h"
#include "core/error.h"
#include "formats/zip_directory.h"

namespace moiety {
namespace {

constexpr size_t kMaxRankInFile = 16;
constexpr size_t kMaxKey = 64;
constexpr uint64_t kMaxElements = uint64_t{1} << 48;

struct StorageType {
  std::string_view symbol;  // without the module
  const char* name;
  uint32_t bytes;
  std::optional<DType> dtype;
};

constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", "float32", 4, DType::kF32},   {"HalfStorage", "float16", 2, DType::kF16},
    {"BFloat16Storage", "bfloat16", 2, DType::kBF16}, {"IntStorage", "int32", 4, DType::kI32},
    {"LongStorage", "int64", 8, {}},               {"DoubleStorage", "float64", 8, {}},
    {"ShortStorage", "int16", 2, {}},              {"CharStorage", "int8", 1, {}},
    {"ByteStorage", "uint8", 1, {}},               {"BoolStorage", "bool", 1, {}},
};

const StorageType* type_of_symbol(std::string_view symbol) {
  for (std::string_view module : {"torch.", "torch.cuda."}) {
    if (!symbol.starts_with(module)) continue;
    for (const StorageType& type : kStorageTypes) {
      if (symbol.substr(module.size()) == type.symbol) return &type;
    }
  }
  return nullptr;
}

const StorageType& type_of_name(std::string_view name) {
  return *std::ranges::find(kStorageTypes, name, &StorageType::name);
}

constexpr std::string_view kRebuild = "torch._utils._rebuild_tensor", kRebuild2 = "torch._utils._rebuild_tensor_v2",
                           kParameter = "torch._utils._rebuild_parameter",
                           kParameter2 = "torch._utils._rebuild_parameter_with_state",
                           kFromType = "torch._tensor._rebuild_from_type_v2";

bool is_parameter(std::string_view symbol) { return symbol == kParameter || symbol == kParameter2; }

struct Maker {
  std::string symbol;
  PickleValue arguments;
};

// What made a value. A tensor that has Python attributes is (function, type, arguments, attributes): of a type that adds
// nothing to a tensor, it is what the function made of the arguments.
Maker maker_of(PickleValue value) {
  if (!value || value.kind() != PickleKind::kObject) return {};
  const PickleValue all = value.arguments();
  if (value.symbol() != kFromType) return {value.symbol(), all};
  const std::string type = all.at(1).symbol();
  if (type.empty()) return {value.symbol(), {}};
  if (type != "torch.Tensor" && type != "torch.nn.parameter.Parameter") return {type, {}};
  return {all.at(0).symbol(), all.at(2)};
}

// Sizes and strides: integers that are not negative, alone or in a torch.Size.
std::optional<std::vector<int64_t>> small_integers(PickleValue value) {
  if (value && value.kind() == PickleKind::kObject && value.symbol() == "torch.Size") value = value.arguments().at(0);
  if (!value || (value.kind() != PickleKind::kTuple && value.kind() != PickleKind::kList)) return std::nullopt;
  if (value.count() > kMaxRankInFile) return std::nullopt;
  std::vector<int64_t> out;
  for (size_t i = 0; i < value.count(); ++i) {
    const auto number = value.at(i).integer();
    if (!number || *number < 0) return std::nullopt;
    out.push_back(*number);
  }
  return out;
}

bool is_plain_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKey && key != "." && key != ".." &&
         key.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace

uint64_t TorchTensor::elements() const {
  uint64_t count = 1;
  for (int64_t dim : shape) count *= static_cast<uint64_t>(dim);
  return count;
}

bool TorchTensor::dense() const {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

TorchFile::TorchFile(const std::filesystem::path& path) : file_(std::make_shared<MappedFile>(path)) {
  if (ZipDirectory::looks_like(*file_)) read_zip();
  else read_legacy();
}

TorchFile::~TorchFile() = default;

std::string TorchFile::name() const { return printable(file_->name()); }

template <class... Args>
void TorchFile::error(uint64_t offset, fmt::format_string<Args...> format, Args&&... args) const {
  fail(Status::kFormat, "{} @{:#x}: {}", name(), offset, fmt::format(format, std::forward<Args>(args)...));
}

// The archive's folder is called "archive" or after the file: it is where data.pkl lies.
void TorchFile::read_zip() {
  zip_ = std::make_unique<ZipDirectory>(file_);
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipEntry* entry = nullptr;
  for (const ZipEntry& candidate : zip_->entries()) {
    if (!candidate.name.ends_with(kPickle)) continue;
    const std::string_view folder = candidate.name.substr(0, candidate.name.size() - kPickle.size());
    if (folder.empty() || folder.find('/') != std::string_view::npos) continue;
    if (entry) fail(Status::kFormat, "{}: it stands beside '{}'", zip_->where(candidate), printable(entry->name));
    entry = &candidate;
    folder_ = folder;
  }
  if (!entry) error(0, "no record FOLDER/data.pkl: no PyTorch file, or a TorchScript one");
  if (const ZipEntry* order = zip_->find(folder_ + "/byteorder")) {
    std::vector<std::byte> memory;
    const auto text = zip_->content(*order, memory, {.bytes = 64});
    if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) != "little")
      fail(Status::kFormat, "{}: big-endian files are not supported", zip_->where(*order));
  }
  const auto bytes = zip_->content(*entry, unpacked_);
  const bool packed = bytes.data() == unpacked_.data() && !bytes.empty();
  pickle_ = std::make_unique<Pickle>(PickleSource{bytes, packed ? fmt::format("{}: {}", name(), printable(entry->name)) : name(),
                                                  packed ? 0 : entry->offset});
  if (pickle_->length() != bytes.size())
    fail(Status::kFormat, "{}: {} bytes stand behind the pickle's end", zip_->where(*entry),
         bytes.size() - pickle_->length());
}

// Five pickles (magic number, protocol, system, object, keys of the storages), then for each key a count and the data.
void TorchFile::read_legacy() {
  constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // 0x1950a86a20f9469cfc6c
  uint64_t at = 0;
  const auto next = [&] {
    auto pickle = std::make_unique<Pickle>(PickleSource{file_->bytes().subspan(at), name(), at});
    at += pickle->length();
    return pickle;
  };
  if (file_->size() < 2 || file_->bytes()[0] != std::byte{0x80})
    error(0, "neither a zip archive nor a pickle: no PyTorch file");
  if (next()->root().raw_bytes() != kMagic) error(0, "the magic number of a PyTorch file is missing");
  if (const uint64_t begin = at; next()->root().integer() != 1001) error(begin, "protocol: expected 1001");
  const uint64_t system_at = at;
  const auto system = next();
  const PickleValue little = system->root().find("little_endian");
  if (!little || little.boolean() != true) error(system_at, "big-endian files are not supported");
  pickle_ = next();
  const auto keys = next();
  read_storages(at, *keys);
}

void TorchFile::read_storages(uint64_t at, const Pickle& keys) {
  // What the tensors say about their storages: the walk needs the element sizes.
  for (size_t i = 0; i < pickle_->persistent_count(); ++i) {
    const PickleValue id = pickle_->persistent(i).arguments();
    const PickleValue key = id.at(2), count = id.at(4);
    const StorageType* type = id.at(1) ? type_of_symbol(id.at(1).symbol()) : nullptr;
    if (id.kind() != PickleKind::kTuple || id.at(0).text() != "storage" || !type || !key || !key.text() ||
        !is_plain_key(*key.text()) || !count || count.integer().value_or(-1) < 0)
      fail(Status::kFormat, "{}: a persistent id that is no storage of a known type", id.where());
    const Storage said{0, static_cast<uint64_t>(*count.integer()), type->name, {}};
    const auto [place, fresh] = legacy_.try_emplace(std::string(*key.text()), said);
    if (!fresh && (place->second.elements != said.elements || place->second.type_name != said.type_name))
      fail(Status::kFormat, "{}: storage '{}' has two types or sizes", id.where(), printable(*key.text()));
  }
  const PickleValue list = keys.root();
  if (list.kind() != PickleKind::kList) error(at, "the list of storages is missing");
  size_t seen = 0;
  list.each([&](PickleValue key) {
    const auto place = key.text() ? legacy_.find(std::string(*key.text())) : legacy_.end();
    if (place == legacy_.end() || place->second.offset != 0)
      fail(Status::kFormat, "{}: a storage that no tensor has, or that stands twice", key.where());
    Storage& storage = place->second;
    const auto bytes = checked_mul(storage.elements, type_of_name(storage.type_name).bytes);
    if (!in_range(at, 8, file_->size())) error(at, "storage '{}' is cut", printable(place->first));
    uint64_t count;
    std::memcpy(&count, file_->bytes().data() + at, 8);
    if (count != storage.elements)
      error(at, "storage '{}' has {} elements, its tensors say {}", printable(place->first), count, storage.elements);
    storage.offset = at + 8;
    if (!bytes || !in_range(storage.offset, *bytes, file_->size()))
      error(at, "storage '{}' of {} elements does not fit the file", printable(place->first), count);
    at = storage.offset + *bytes;
    ++seen;
  });
  if (seen != legacy_.size()) error(at, "{} storages are listed, {} are used", seen, legacy_.size());
  if (at != file_->size()) error(at, "{} bytes stand behind the last storage", file_->size() - at);
}

bool TorchFile::is_tensor(PickleValue value) {
  const std::string symbol = maker_of(value).symbol;
  return symbol == kRebuild || symbol == kRebuild2 || is_parameter(symbol);
}

// ('storage', type, key, location, count[, view of a storage])
TorchFile::Storage TorchFile::storage(PickleValue value, std::string_view tensor) const {
  const auto broken = [&](std::string_view what) {
    fail(Status::kFormat, "{}: tensor '{}': {}", value.where(), printable(tensor), what);
  };
  if (value.kind() != PickleKind::kPersistent) broken("its storage is no persistent id");
  const PickleValue id = value.arguments();
  if (id.kind() != PickleKind::kTuple || id.count() < 5 || id.count() > 6 || id.at(0).text() != "storage")
    broken("its persistent id is no storage");
  const StorageType* type = type_of_symbol(id.at(1).symbol());
  if (!type) broken(fmt::format("storage type '{}' is not supported", printable(id.at(1).symbol())));
  const auto key = id.at(2).text();
  if (!key || !is_plain_key(*key)) broken(fmt::format("storage key '{}' is no plain name", printable(key.value_or(""))));
  const auto count = id.at(4).integer();
  const auto bytes = count && *count >= 0 ? checked_mul(static_cast<uint64_t>(*count), type->bytes) : std::nullopt;
  if (!bytes) broken("its storage has no possible size");
  if (!zip_) {
    Storage out = legacy_.at(std::string(*key));
    const PickleValue part = id.at(5);  // (key, offset, count): a storage that is a part of another
    if (!part || part.is_none()) return out;
    const auto offset = part.at(1) ? part.at(1).integer() : std::nullopt;
    const auto length = part.at(2) ? part.at(2).integer() : std::nullopt;
    if (!offset || !length || *offset < 0 || *length < 0 ||
        !in_range(static_cast<uint64_t>(*offset), static_cast<uint64_t>(*length), out.elements))
      broken("the part of the storage lies outside of it");
    out.offset += static_cast<uint64_t>(*offset) * type->bytes;
    out.elements = static_cast<uint64_t>(*length);
    return out;
  }
  const ZipEntry* entry = zip_->find(fmt::format("{}/data/{}", folder_, *key));
  if (!entry) broken(fmt::format("the record of storage '{}' is missing", printable(*key)));
  if (entry->method != kZipStored)
    fail(Status::kFormat, "{}: tensor '{}' is compressed; save the file again with torch.save", zip_->where(*entry),
         printable(tensor));
  if (entry->bytes != *bytes)
    fail(Status::kFormat, "{}: tensor '{}' needs {} elements of {}, the record has {} bytes", zip_->where(*entry),
         printable(tensor), *count, type->name, entry->bytes);
  return {entry->offset, static_cast<uint64_t>(*count), type->name, entry->crc};
}

TorchTensor TorchFile::tensor(PickleValue value, std::string_view tensor_name) const {
  const auto broken = [&](std::string_view what) {
    fail(Status::kFormat, "{}: tensor '{}': {}", value.where(), printable(tensor_name), what);
  };
  Maker maker = maker_of(value);
  for (int i = 0; i < 4 && is_parameter(maker.symbol); ++i) value = maker.arguments.at(0), maker = maker_of(value);
  if (!value) fail(Status::kFormat, "{}: tensor '{}': a parameter without data", name(), printable(tensor_name));
  if (maker.symbol != kRebuild && maker.symbol != kRebuild2) {
    broken(maker.symbol.empty() ? "it is no tensor"
                                : fmt::format("it is made by '{}', which is not supported", printable(maker.symbol)));
  }
  const PickleValue& arguments = maker.arguments;
  if (arguments.kind() != PickleKind::kTuple || arguments.count() < 4) broken("it has too few arguments");
  const Storage from = storage(arguments.at(0), tensor_name);
  const StorageType& type = type_of_name(from.type_name);
  const auto offset = arguments.at(1).integer();
  auto shape = small_integers(arguments.at(2)), strides = small_integers(arguments.at(3));
  if (!offset || *offset < 0) broken("its offset is no possible number");
  if (!shape || !strides || shape->size() != strides->size())
    broken(fmt::format("its sizes and strides are no two lists of at most {} numbers, 0 or more", kMaxRankInFile));
  std::optional<uint64_t> last = static_cast<uint64_t>(*offset), count = 1;
  for (size_t i = 0; i < shape->size(); ++i) {
    const auto dim = static_cast<uint64_t>((*shape)[i]);
    if (count) count = checked_mul(*count, dim);
    const auto step = checked_mul(dim == 0 ? 0 : dim - 1, static_cast<uint64_t>((*strides)[i]));
    if (last) last = step ? checked_add(*last, *step) : std::nullopt;
  }
  if (std::ranges::find(*shape, 0) != shape->end()) count = 0;
  if (!count || *count > kMaxElements) broken("it has more elements than any file");
  if (*count > 0 && (!last || *last >= from.elements))
    broken(fmt::format("it reaches beyond the {} elements of its storage", from.elements));
  if (*count > from.elements) broken(fmt::format("its {} elements share the {} of its storage", *count, from.elements));
  TorchTensor out{type.dtype, type.name, type.bytes, std::move(*shape), std::move(*strides), 0, from.offset, from.elements,
                  from.crc, {}};
  out.offset = *count > 0 ? from.offset + static_cast<uint64_t>(*offset) * type.bytes : from.offset;
  out.origin = fmt::format("{} @{:#x}: tensor '{}'", name(), out.offset, printable(tensor_name));
  return out;
}

namespace {

// Type and shape of a view, without its data.
Tensor describe(const TorchTensor& from) {
  if (!from.dtype) fail(Status::kUnsupported, "{} has the type {}, which is not supported", from.origin, from.type_name);
  if (from.shape.size() > kMaxRank)
    fail(Status::kFormat, "{} has rank {}, limit {}", from.origin, from.shape.size(), kMaxRank);
  Tensor out;
  for (int64_t dim : from.shape) {
    if (dim == 0) fail(Status::kFormat, "{} dim {} is 0", from.origin, out.rank);
    out.shape[static_cast<size_t>(out.rank++)] = dim;
  }
  if (out.rank == 0) out.shape[static_cast<size_t>(out.rank++)] = 1;
  out.dtype = *from.dtype;
  out.row_bytes = static_cast<int64_t>(dtype_bytes(out.dtype, out.cols()));
  return out;
}

}  // namespace

Tensor TorchFile::view(const TorchTensor& from) const {
  Tensor out = describe(from);
  if (!from.dense()) fail(Status::kFormat, "{} has gaps between its rows: strides [{}]", from.origin, fmt::join(from.strides, ", "));
  out.data = const_cast<std::byte*>(file_->bytes().data() + from.offset);  // views are read-only by contract
  return out;
}

Tensor TorchFile::copy(const TorchTensor& from, Buffer& buffer) const {
  Tensor out = describe(from);
  buffer = Buffer(out.bytes());
  out.data = buffer.data();
  const std::byte* data = file_->bytes().data() + from.offset;
  std::vector<int64_t> index(from.shape.size());
  for (uint64_t i = 0; i < from.elements(); ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * from.strides[d];
    std::memcpy(out.data + i * from.item_bytes, data + static_cast<uint64_t>(at) * from.item_bytes, from.item_bytes);
    for (size_t d = index.size(); d-- > 0 && ++index[d] == from.shape[d];) index[d] = 0;
  }
  return out;
}

}  // namespace moiety
