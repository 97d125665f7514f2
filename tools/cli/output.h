// The output file of a command: complete or not there, and never a file of the model that is being read.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <string>

namespace moiety {
class NpyWriter;
}

namespace cli {

// Throws if `output` is `model`, or a file of it, by whatever name (links too).
void refuse_model_file(const std::string& output, const std::string& model);

// A text as a file of its own, complete or not there. Throws Error kIo.
void write_text_file(const std::string& path, const std::string& text);

// Quoted where commas, quotes or line ends make it necessary.
std::string csv_field(const std::string& text);

// A .npy file, f32 [rows, cols], row by row. The constructor and commit() throw std::exception where the system refuses.
class NpyOutput {
 public:
  // model: the file or the folder that may not be written to, by whatever name (links too).
  NpyOutput(const std::string& path, const std::string& model, size_t rows, size_t cols);
  ~NpyOutput();
  void row(const float* values, size_t count) noexcept;  // for callbacks: commit() says what went wrong
  void commit();

 private:
  std::unique_ptr<moiety::NpyWriter> file_;
  std::exception_ptr failure_;
};

}  // namespace cli
