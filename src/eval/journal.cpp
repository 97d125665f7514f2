#include "eval/journal.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <system_error>

#include "core/error.h"
#include "core/mapped_file.h"
#include "graph/fingerprint.h"

namespace moiety::eval {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path, const char* what) {
  fail(Status::kIo, "{}: can't {} it: {}", printable(path.string()), what, std::generic_category().message(errno));
}

bool read_values(std::string_view text, std::vector<double>& values) {
  while (!text.empty()) {
    double value = 0;
    const auto [end, code] = std::from_chars(text.data() + 1, text.data() + text.size(), value);
    if (text.front() != ' ' || code != std::errc()) return false;
    values.push_back(value);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  return true;
}

}  // namespace

// Fills pieces_ and returns how many bytes are whole.
size_t Journal::read(std::string_view text, std::string_view head) {
  const size_t head_end = text.find('\n');
  if (!text.starts_with("moiety journal ")) fail(Status::kFormat, "{} @0x0: not a file of --resume", name());
  if (text.substr(0, head_end) != head) {
    fail(Status::kInvalidArgument, "{}: is of another run (other model, texts or options); name another file", name());
  }
  size_t at = head_end + 1;
  for (size_t end; (end = text.find('\n', at)) != std::string_view::npos; at = end + 1) {
    const std::string_view line = text.substr(at, end - at);
    const size_t key_end = std::min(line.find(' '), line.size());
    std::vector<double> values;
    if (key_end == 0 || !read_values(line.substr(key_end), values)) {
      fail(Status::kFormat, "{} @{:#x}: expected a key and numbers", name(), at);
    }
    pieces_.insert_or_assign(std::string(line.substr(0, key_end)), std::move(values));
  }
  return at;
}

Journal::Journal(const fs::path& path, uint64_t run) : path_(path) {
  const std::string head = fmt::format("moiety journal 1 {:016x}", run);
  std::error_code code;
  const bool there = fs::exists(path, code) && fs::file_size(path, code) > 0;
  if (there) {
    std::string text;
    {
      const MappedFile file(path);
      text.assign(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    }
    if (std::string_view(head).starts_with(text)) {  // stopped inside the first line
      fs::resize_file(path, 0, code);
    } else {
      fs::resize_file(path, read(text, head), code);
    }
    if (code) fail(Status::kIo, "{}: can't write it: {}", name(), code.message());
  }
  file_.reset(std::fopen(path.c_str(), "ab"));
  if (!file_) refuse(path, "write");
  if (fs::file_size(path, code) == 0) {
    write(head + '\n');
  }
}

void Journal::write(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0) {
    refuse(path_, "write");
  }
}

const std::vector<double>* Journal::find(const std::string& key) const {
  const auto it = pieces_.find(key);
  return it == pieces_.end() ? nullptr : &it->second;
}

const std::vector<double>& Journal::add(const std::string& key, std::vector<double> values) {
  if (file_) {
    std::string line = key;
    for (double v : values) line += fmt::format(" {}", v);
    write(line + '\n');
  }
  return pieces_.insert_or_assign(key, std::move(values)).first->second;
}

RunId& RunId::add(std::string_view bytes) {
  for (char c : bytes) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash_ = (hash_ ^ 0xFF) * 0x100000001b3u;  // "ab" "c" is not "a" "bc"
  return *this;
}

RunId& RunId::add(const Model& model) {
  add(fmt::format("{:016x}", fingerprint(model.graph())));
  const PlanOptions& plan = model.plan_options();
  add(static_cast<double>(plan.activations)).add(dtype_info(plan.key_type).name).add(dtype_info(plan.value_type).name);
  for (const Backend* backend : model.backends()) add(backend->name()).add(backend->target());
  return *this;
}

}  // namespace moiety::eval
