#include "runtime/tune_file.h"

#include <simdjson.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "formats/output_file.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostBytes = size_t{1} << 20, kMostEntries = 4096;

// What stands in the file as it is, so that no name needs escapes.
bool plain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

std::string text_of(const fs::path& path) {
  if (!fs::is_regular_file(path)) fail(Status::kFormat, "it is no file");
  std::ifstream in(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || !in.is_open()) fail(Status::kIo, "it can't be read");
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMostBytes) fail(Status::kFormat, "it is larger than {} bytes", kMostBytes);
  return text;
}

}  // namespace

TuneFile::TuneFile(fs::path path, std::string_view cpu, std::vector<std::string>& warnings)
    : path_(std::move(path)), cpu_(cpu) {
  std::ranges::replace_if(cpu_, [](char c) { return !plain(c); }, '?');
  try {
    entries_ = read();
  } catch (const std::exception& error) {
    warnings.push_back(fmt::format("{}: ignored, {}", printable(path_.string()), error.what()));
  }
}

TuneFile::Entries TuneFile::read() const {
  std::error_code code;
  if (!fs::exists(path_, code)) return {};
  const simdjson::padded_string text(text_of(path_));
  simdjson::dom::parser parser;
  simdjson::dom::object root, rows;
  std::string_view version;
  if (parser.parse(text).get(root) || root["moiety"].get(version) || root["rows"].get(rows))
    fail(Status::kFormat, "it is not what moiety keeps of its measurements");
  if (version != kTunedWith) fail(Status::kFormat, "it is of moiety {}, this is {}", printable(version), kTunedWith);
  if (rows.size() > kMostEntries) fail(Status::kFormat, "it has {} entries, expected {} at most", rows.size(), kMostEntries);
  Entries entries;
  for (const auto& [name, value] : rows) {
    int64_t number = 0;
    if (!std::ranges::all_of(name, plain)) fail(Status::kFormat, "'{}' is no name", printable(name));
    if (value.get(number) || number < 1 || number > kMostTuned)
      fail(Status::kFormat, "'{}' is {}, expected 1 to {}", printable(name), printable(simdjson::minify(value)), kMostTuned);
    entries.insert_or_assign(std::string(name), static_cast<int>(number));
  }
  return entries;
}

std::string TuneFile::prefix(std::string_view target) const { return fmt::format("{}, {}, ", cpu_, target); }

Tuning TuneFile::get(std::string_view target) const {
  Tuning tuning;
  const std::string start = prefix(target);
  for (auto entry = entries_.lower_bound(start); entry != entries_.end() && entry->first.starts_with(start); ++entry)
    tuning[entry->first.substr(start.size())] = entry->second;
  return tuning;
}

void TuneFile::put(std::string_view target, const Tuning& tuning) {
  for (const auto& [kernel, number] : tuning) {
    const std::string name = prefix(target) + kernel;
    const auto known = entries_.find(name);
    if (known == entries_.end() || known->second != number) entries_[name] = changed_[name] = number;
  }
}

void TuneFile::save() const {
  if (changed_.empty()) return;
  Entries all;
  try {
    all = read();
  } catch (const std::exception&) {  // it was said when it was read first
  }
  for (const auto& [name, number] : changed_) all[name] = number;
  if (all.size() > kMostEntries) all = changed_;
  std::string text = fmt::format("{{\"moiety\": \"{}\", \"rows\": {{", kTunedWith);
  for (const auto& [name, number] : all) text += fmt::format("{}\n  \"{}\": {}", text.back() == '{' ? "" : ",", name, number);
  text += "\n}}\n";
  std::error_code code;
  // Neither a device nor a folder is replaced, nor what is too large to be ours.
  if (fs::exists(path_, code) && (!fs::is_regular_file(path_, code) || fs::file_size(path_, code) > kMostBytes)) return;
  if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), code);
  try {
    OutputFile file(path_);
    file.write(text.data(), text.size());
    file.commit();
  } catch (const Error&) {
  }
}

}  // namespace moiety
