// LineEditor: lines with history and cursor keys on a terminal (libedit), plain lines from a pipe. This file's .cpp is
// the only one that sees libedit.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace cli {

class LineEditor {
 public:
  LineEditor();
  ~LineEditor();
  // A line without its end; nothing at the end of input, after Ctrl-D, or after Ctrl-C.
  std::optional<std::string> read(const std::string& prompt);

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;  // absent in a pipe
};

}  // namespace cli
