// PyTorch's .pt files, both containers: the zip archive (data.pkl and a stored record for each storage) and the legacy
// one (pickles, then the storages one after the other). The object comes as an inert tree (pickle.h); tensors are views
// into the mapping, at any byte; storages may be shared. Source: torch/serialization.py and its format notes.
// Every error is Error(kFormat) and names file, offset and tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/buffer.h"
#include "core/mapped_file.h"
#include "core/tensor.h"
#include "formats/pickle.h"

namespace moiety {

class ZipDirectory;

// A view into a storage, checked: its last element lies inside.
struct TorchTensor {
  std::optional<DType> dtype;         // nothing: a type that we do not compute with; type_name says which
  const char* type_name = "";         // "float16"
  uint32_t item_bytes = 0;
  std::vector<int64_t> shape, strides;  // in elements, outermost first; [] is one value, zeros are allowed
  uint64_t offset = 0;                // of the first element, in the file
  uint64_t storage = 0;               // of its storage, in the file: equal for tensors that share one
  uint64_t storage_elements = 0;
  std::optional<uint32_t> crc;        // of the whole storage, as the zip directory tells it
  std::string origin;                 // "FILE @0xOFFSET: tensor 'NAME'"

  uint64_t elements() const;
  bool dense() const;  // row after row without gaps
};

class TorchFile {
 public:
  explicit TorchFile(const std::filesystem::path& path);
  ~TorchFile();
  TorchFile(const TorchFile&) = delete;
  TorchFile& operator=(const TorchFile&) = delete;

  const std::shared_ptr<MappedFile>& file() const { return file_; }
  std::string name() const;  // for messages
  PickleValue root() const { return pickle_->root(); }

  static bool is_tensor(PickleValue value);
  // `name` is for errors. A value that is no tensor, or made by anything but PyTorch's own functions for tensors and
  // parameters, with or without Python attributes, is an error that names what it is.
  TorchTensor tensor(PickleValue value, std::string_view name) const;

  // A read-only view in the mapping. Throws Error where the type is not supported, the rank above 4, a dim 0, or the
  // tensor not dense.
  Tensor view(const TorchTensor& tensor) const;
  // The values of any supported tensor, row after row, in memory of `buffer`.
  Tensor copy(const TorchTensor& tensor, Buffer& buffer) const;

 private:
  struct Storage {
    uint64_t offset = 0, elements = 0;
    const char* type_name = "";
    std::optional<uint32_t> crc;
  };
  void read_zip();
  void read_legacy();
  void read_storages(uint64_t at, const Pickle& keys);
  Storage storage(PickleValue value, std::string_view name) const;
  template <class... Args>
  [[noreturn]] void error(uint64_t offset, fmt::format_string<Args...> format, Args&&... args) const;

  std::shared_ptr<MappedFile> file_;
  std::unique_ptr<ZipDirectory> zip_;  // null: legacy
  std::string folder_;                 // of the archive
  std::vector<std::byte> unpacked_;    // data.pkl where it is deflated
  std::unique_ptr<Pickle> pickle_;
  std::unordered_map<std::string, Storage> legacy_;  // by key
};

}  // namespace moiety
