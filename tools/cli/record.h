// A file of results that grows: JSON lines, each with the machine and the build it comes from.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace cli {

class Record {
 public:
  // Makes the file if there is none. Throws Error: kInvalidArgument if it holds something else than JSON lines, kIo.
  explicit Record(const std::string& path);
  ~Record();
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  // Appends one line, whole or not at all, behind what other processes append meanwhile; what is there stays. `row`
  // follows date (UTC), version, commit (absent if the build does not know it) and cpu. Throws Error kIo.
  void append(const nlohmann::ordered_json& row);

 private:
  [[noreturn]] void refuse(const char* action) const;

  std::string path_;
  int fd_ = -1;
};

}  // namespace cli
