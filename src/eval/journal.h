// Journal: what a long run has done so far, so that the same command goes on where it was stopped. One line a finished
// piece, written at once; a torn last line is forgotten.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "runtime/model.h"

namespace moiety::eval {

class Journal {
 public:
  Journal() = default;  // keeps what it is told until it ends, and no file
  // Opens or makes the file. `run` says what is being done; a file of another run is an Error kInvalidArgument, one
  // that is no journal kFormat, one that can't be written kIo.
  Journal(const std::filesystem::path& path, uint64_t run);

  const std::vector<double>* find(const std::string& key) const;
  // key: no white space. Throws Error kIo where the system refuses.
  const std::vector<double>& add(const std::string& key, std::vector<double> values);
  size_t size() const { return pieces_.size(); }
  std::string name() const { return printable(path_.string()); }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  size_t read(std::string_view text, std::string_view head);
  void write(const std::string& line);

  std::filesystem::path path_;
  std::unordered_map<std::string, std::vector<double>> pieces_;
  std::unique_ptr<std::FILE, Close> file_;
};

// Identifies a run by what it depends on: FNV-1a over everything that is added.
class RunId {
 public:
  RunId& add(std::string_view bytes);
  RunId& add(double value) { return add(fmt::format("{} ", value)); }
  RunId& add(const Model& model);  // what it computes, and how
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace moiety::eval
