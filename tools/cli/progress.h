// Progress of long work on stderr: a bar on a terminal, in a pipe a line for each tenth.
#pragma once

#include <chrono>
#include <string>

namespace cli {

class Progress {
 public:
  explicit Progress(std::string label) : label_(std::move(label)) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(double done);  // 0 to 1
  void clear();            // removes the bar; something else will be printed

 private:
  std::string label_;
  int shown_ = -1;   // thousandths on a terminal, tenths in a pipe
  bool bar_ = false;  // there is one
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace cli
