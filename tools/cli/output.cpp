#include "output.h"

#include <array>

#include "core/error.h"
#include "formats/npy.h"
#include "formats/output_file.h"

namespace cli {

namespace fs = std::filesystem;

void refuse_model_file(const std::string& output, const std::string& model_path) {
  const fs::path path = output, model = model_path;
  const auto check = [&](const fs::path& input) {
    if (!moiety::same_file(path, input)) return;
    moiety::fail(moiety::Status::kInvalidArgument, "{}: is a file of the model, not overwritten", moiety::printable(path.string()));
  };
  check(model);
  // The other shards too; a folder that holds models may well hold earlier outputs.
  std::error_code code;
  const bool folder = fs::is_directory(model, code);
  const fs::path parent = model.has_parent_path() ? model.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder ? model : parent, code)) {
    if (folder || entry.path().extension() == model.extension()) check(entry.path());
  }
}

void write_text_file(const std::string& path, const std::string& text) {
  moiety::OutputFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

NpyOutput::NpyOutput(const std::string& path, const std::string& model, size_t rows, size_t cols) {
  refuse_model_file(path, model);
  file_ = std::make_unique<moiety::NpyWriter>(path, std::array{static_cast<int64_t>(rows), static_cast<int64_t>(cols)});
}

NpyOutput::~NpyOutput() = default;

void NpyOutput::row(const float* values, size_t count) noexcept {
  try {
    if (!failure_) file_->write({values, count});
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void NpyOutput::commit() {
  if (failure_) std::rethrow_exception(failure_);
  file_->commit();
}

}  // namespace cli
