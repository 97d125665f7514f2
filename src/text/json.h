// Thin reading helpers over simdjson's DOM, with errors that name file and field. Only text/ includes this.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "core/error.h"

namespace moiety::text {

constexpr size_t kJsonDepth = 64;

// A value and where it is: "tokenizer.json: model.merges".
struct Json {
  simdjson::dom::element value;
  std::string where;

  [[noreturn]] void wrong(std::string_view expected) const {
    fail(Status::kFormat, "{}: expected {}", where, expected);
  }
  bool is_null() const { return value.is_null(); }

  // The member, if it is there and not null.
  std::optional<Json> find(std::string_view key) const {
    simdjson::dom::object object;
    if (value.get(object)) wrong("an object");
    simdjson::dom::element member;
    if (object.at_key(key).get(member) || member.is_null()) return std::nullopt;
    return Json{member, where + (where.ends_with(": ") ? "" : ".") + std::string(key)};
  }
  Json need(std::string_view key) const {
    auto member = find(key);
    if (!member) fail(Status::kFormat, "{}: '{}' is missing", where, key);
    return *member;
  }
  std::string_view string() const {
    std::string_view out;
    if (value.get(out)) wrong("a string");
    return out;
  }
  bool boolean() const {
    bool out = false;
    if (value.get(out)) wrong("true or false");
    return out;
  }
  int64_t integer(int64_t low, int64_t high) const {
    int64_t out = 0;
    if (value.get(out) || out < low || out > high) wrong(fmt::format("an integer from {} to {}", low, high));
    return out;
  }
  simdjson::dom::array array() const {
    simdjson::dom::array out;
    if (value.get(out)) wrong("a list");
    return out;
  }
  simdjson::dom::object object() const {
    simdjson::dom::object out;
    if (value.get(out)) wrong("an object");
    return out;
  }
  Json item(simdjson::dom::element element, size_t index) const { return {element, fmt::format("{}[{}]", where, index)}; }

  bool flag(std::string_view key, bool otherwise) const {
    const auto member = find(key);
    return member ? member->boolean() : otherwise;
  }
  std::string_view string_or(std::string_view key, std::string_view otherwise) const {
    const auto member = find(key);
    return member ? member->string() : otherwise;
  }
};

// Parses a whole file into `parser` (which owns the result). Depth is limited.
inline Json parse_json(simdjson::dom::parser& parser, std::string_view text, const std::string& origin) {
  if (text.size() > 0xFFFFFF00u) fail(Status::kFormat, "{}: {} bytes; limit 4 GiB", origin, text.size());
  simdjson::dom::element root;
  // A byte order mark is not JSON, but some editors leave one.
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (const auto error = parser.allocate(text.size() + 64, kJsonDepth)) {
    fail(Status::kOutOfMemory, "{}: {}", origin, simdjson::error_message(error));
  }
  if (const auto error = parser.parse(text.data(), text.size(), true).get(root)) {
    fail(Status::kFormat, "{}: {}", origin, simdjson::error_message(error));
  }
  return {root, origin + ": "};
}

}  // namespace moiety::text
