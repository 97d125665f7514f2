#include "eval/text_set.h"

#include <algorithm>

#include "core/error.h"
#include "core/mapped_file.h"
#include "text/unicode.h"

namespace moiety::eval {
namespace {

namespace fs = std::filesystem;

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void add_folder(const fs::path& folder, const std::string& prefix, std::string_view set, std::vector<TextFile>& out) {
  std::error_code code;
  fs::recursive_directory_iterator it(folder, code), end;
  if (code) fail(Status::kIo, "{}: can't read the folder: {}", printable(folder.string()), code.message());
  for (; it != end; it.increment(code)) {
    if (code) fail(Status::kIo, "{}: can't read the folder: {}", printable(folder.string()), code.message());
    if (hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file(code)) {
      const std::string name = it->path().lexically_relative(folder).generic_string();
      out.push_back({prefix.empty() ? name : prefix + "/" + name, std::string(set), it->path()});
    }
  }
}

// Python's white space: Unicode's and four control characters more.
bool python_space(uint32_t point) { return text::is_space(point) || (point >= 0x1C && point <= 0x1F); }

std::string_view strip(std::string_view s) {
  while (!s.empty()) {
    const text::Char c = text::decode_char(s, 0);
    if (!python_space(c.point)) break;
    s.remove_prefix(c.bytes);
  }
  while (!s.empty()) {
    const size_t at = text::previous_char(s, s.size());
    if (!python_space(text::decode_char(s, at).point)) break;
    s = s.substr(0, at);
  }
  return s;
}

}  // namespace

std::vector<TextFile> find_texts(std::string_view spec, std::string_view set) {
  std::error_code code;
  std::string name;
  fs::path path(spec);
  const size_t equals = spec.find('=');
  if (equals != std::string_view::npos && equals > 0 && !fs::exists(path, code)) {
    name = spec.substr(0, equals);
    path = spec.substr(equals + 1);
  }
  if (!fs::exists(path, code)) fail(Status::kIo, "{}: no such file or folder", printable(path.string()));
  std::vector<TextFile> out;
  if (!fs::is_directory(path, code)) {
    out.push_back({name.empty() ? path.filename().string() : name, std::string(set), path});
    return out;
  }
  add_folder(path, name, set, out);
  if (out.empty()) fail(Status::kIo, "{}: no file in the folder", printable(path.string()));
  std::ranges::sort(out, {}, &TextFile::name);
  return out;
}

std::string read_text(const fs::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::vector<std::string_view> stripped_lines(std::string_view text, bool keep_empty) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = strip(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() || keep_empty) lines.push_back(line);
  }
  return lines;
}

std::optional<int32_t> start_token(const Tokenizer& tokenizer) {
  return tokenizer.bos() ? tokenizer.bos() : tokenizer.eos();
}

std::vector<int32_t> encode_text(const Tokenizer& tokenizer, std::string_view text, bool keep_empty) {
  if (!tokenizer.newline_is_end()) return tokenizer.encode(text);
  std::vector<int32_t> ids;
  for (std::string_view line : stripped_lines(text, keep_empty)) {
    const std::vector<int32_t> part = tokenizer.encode(line);
    ids.insert(ids.end(), part.begin(), part.end());
    ids.push_back(*tokenizer.eos());
  }
  return ids;
}

}  // namespace moiety::eval
