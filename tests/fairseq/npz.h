// .npz archives: zip files of .npy arrays.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "formats/npy.h"
#include "formats/zip_directory.h"

namespace moiety::test {

class Npz {
 public:
  explicit Npz(const std::filesystem::path& path) : name_(path.string()) {
    const ZipDirectory zip(std::make_shared<const MappedFile>(path));
    for (const ZipEntry& entry : zip.entries()) {
      std::vector<std::byte> memory;
      const auto content = zip.content(entry, memory, {.bytes = uint64_t{1} << 30, .ratio = 2000});
      const std::string file(entry.name);
      if (file.ends_with(".npy")) arrays_[file.substr(0, file.size() - 4)] = read_npy(content, zip.where(entry));
    }
  }
  const std::map<std::string, NpyArray>& arrays() const { return arrays_; }
  bool has(const std::string& name) const { return arrays_.contains(name); }
  const NpyArray& operator[](const std::string& name) const {
    const auto at = arrays_.find(name);
    if (at == arrays_.end()) fail(Status::kFormat, "{}: no array '{}'", name_, name);
    return at->second;
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const std::vector<double>& all = (*this)[name].values;
    return std::vector<T>(all.begin(), all.end());
  }

 private:
  std::string name_;
  std::map<std::string, NpyArray> arrays_;
};

}  // namespace moiety::test
