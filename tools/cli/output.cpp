#include "output.h"

#include <array>

#include "core/error.h"
#include "formats/npy.h"

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
