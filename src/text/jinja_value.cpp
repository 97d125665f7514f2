// What a value is: its type, truth, text, members, and how it is written as JSON. As in Python, or not here.
#include <algorithm>

#include "core/error.h"
#include "text/jinja_program.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

using List = std::shared_ptr<JinjaList>;
using Dict = std::shared_ptr<JinjaDict>;

void json_string(const std::string& text, std::string& out) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) out += fmt::format("\\u{:04x}", c);
        else out += c;
    }
  }
  out += '"';
}

void write_json(const JinjaValue& value, int indent, int depth, std::string& out, int line) {
  if (depth > kJinjaDepth) jinja_fail(line, "so deep a value");
  auto newline = [&](int level) {
    if (indent >= 0) out += "\n" + std::string(static_cast<size_t>(indent * level), ' ');
  };
  auto elements = [&](size_t n, char open, char close, auto write) {
    out += open;
    for (size_t i = 0; i < n; ++i) {
      if (i > 0) out += indent >= 0 ? "," : ", ";
      newline(depth + 1);
      write(i);
    }
    if (n > 0) newline(depth);
    out += close;
  };
  if (std::holds_alternative<JinjaNone>(value.v)) {
    out += "null";
  } else if (const auto* flag = std::get_if<bool>(&value.v)) {
    out += *flag ? "true" : "false";
  } else if (const auto* text = std::get_if<std::string>(&value.v)) {
    json_string(*text, out);
  } else if (const auto* list = std::get_if<List>(&value.v)) {
    elements((*list)->size(), '[', ']', [&](size_t i) { write_json((**list)[i], indent, depth + 1, out, line); });
  } else if (const auto* dict = std::get_if<Dict>(&value.v)) {
    elements((*dict)->size(), '{', '}', [&](size_t i) {
      json_string((**dict)[i].first, out);
      out += ": ";
      write_json((**dict)[i].second, indent, depth + 1, out, line);
    });
  } else if (std::holds_alternative<int64_t>(value.v)) {
    out += jinja_text(value, line);
  } else {
    jinja_fail(line, "tojson of " + jinja_type(value));
  }
}

}  // namespace

const std::string& jinja_string(const JinjaValue& value, const char* what, int line) {
  const auto* text = std::get_if<std::string>(&value.v);
  if (text == nullptr) jinja_fail(line, fmt::format("{} of {}", what, jinja_type(value)));
  return *text;
}

int64_t jinja_length(const JinjaValue& value, int line) {
  if (const auto* text = std::get_if<std::string>(&value.v)) {
    int64_t n = 0;
    for (size_t at = 0; at < text->size(); at += decode_char(*text, at).bytes) ++n;
    return n;
  }
  if (const auto* list = std::get_if<List>(&value.v)) return static_cast<int64_t>((*list)->size());
  if (const auto* dict = std::get_if<Dict>(&value.v)) return static_cast<int64_t>((*dict)->size());
  if (std::holds_alternative<JinjaUndefined>(value.v)) return 0;
  jinja_fail(line, "the length of " + jinja_type(value));
}

std::string jinja_json(const JinjaValue& value, int indent, int line) {
  std::string out;
  write_json(value, indent, 0, out, line);
  return out;
}

std::string jinja_type(const JinjaValue& value) {
  constexpr const char* kNames[] = {"an undefined value", "none", "a boolean", "an integer", "a fraction", "a string", "a list", "a dictionary", "a function"};
  if (const auto* missing = std::get_if<JinjaUndefined>(&value.v)) return fmt::format("the undefined '{}'", printable(missing->name));
  return kNames[value.v.index()];
}

bool jinja_truth(const JinjaValue& value) {
  if (const auto* flag = std::get_if<bool>(&value.v)) return *flag;
  if (const auto* number = std::get_if<int64_t>(&value.v)) return *number != 0;
  if (const auto* fraction = std::get_if<double>(&value.v)) return *fraction != 0;
  if (const auto* text = std::get_if<std::string>(&value.v)) return !text->empty();
  if (const auto* list = std::get_if<List>(&value.v)) return !(*list)->empty();
  if (const auto* dict = std::get_if<Dict>(&value.v)) return !(*dict)->empty();
  return std::holds_alternative<JinjaFunction>(value.v);
}

bool jinja_equal(const JinjaValue& a, const JinjaValue& b) {
  auto number = [](const JinjaValue& value) -> std::optional<int64_t> {
    if (const auto* integer = std::get_if<int64_t>(&value.v)) return *integer;
    if (const auto* flag = std::get_if<bool>(&value.v)) return *flag ? 1 : 0;  // as in Python
    return std::nullopt;
  };
  if (number(a) && number(b)) return *number(a) == *number(b);
  if (a.v.index() != b.v.index()) return false;
  if (const auto* text = std::get_if<std::string>(&a.v)) return *text == std::get<std::string>(b.v);
  if (const auto* list = std::get_if<List>(&a.v)) {
    const auto& other = std::get<List>(b.v);
    return (*list)->size() == other->size() && std::equal((*list)->begin(), (*list)->end(), other->begin(), jinja_equal);
  }
  if (const auto* fraction = std::get_if<double>(&a.v)) return *fraction == std::get<double>(b.v);
  if (const auto* dict = std::get_if<Dict>(&a.v)) return *dict == std::get<Dict>(b.v);
  return std::holds_alternative<JinjaNone>(a.v) || std::holds_alternative<JinjaUndefined>(a.v);
}

std::string jinja_text(const JinjaValue& value, int line) {
  if (std::holds_alternative<JinjaUndefined>(value.v)) return {};
  if (std::holds_alternative<JinjaNone>(value.v)) return "None";
  if (const auto* flag = std::get_if<bool>(&value.v)) return *flag ? "True" : "False";
  if (const auto* number = std::get_if<int64_t>(&value.v)) return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value.v)) return *text;
  jinja_fail(line, "writing " + jinja_type(value));
}

JinjaValue jinja_attribute(const JinjaValue& value, const std::string& name, int line) {
  if (name.starts_with("_")) jinja_fail(line, fmt::format("the attribute '{}'", printable(name)));
  if (const auto* missing = std::get_if<JinjaUndefined>(&value.v)) {
    jinja_fail(line, fmt::format("'{}' of the undefined '{}'", printable(name), printable(missing->name)));
  }
  const auto* dict = std::get_if<Dict>(&value.v);
  const bool method = dict ? name == "items" || name == "keys" || name == "values" || name == "get"
                           : std::holds_alternative<std::string>(value.v);
  if (method) return JinjaFunction{name, std::make_shared<JinjaValue>(value)};
  if (dict) {
    for (const auto& [key, member] : **dict) {
      if (key == name) return member;
    }
  }
  return JinjaUndefined{name};
}

JinjaValue jinja_item(const JinjaValue& value, const JinjaValue& key, int line) {
  if (const auto* index = std::get_if<int64_t>(&key.v)) {
    const auto* list = std::get_if<List>(&value.v);
    if (list != nullptr) {
      const auto n = static_cast<int64_t>((*list)->size());
      const int64_t at = *index < 0 ? *index + n : *index;
      return at >= 0 && at < n ? (**list)[static_cast<size_t>(at)] : JinjaValue(JinjaUndefined{std::to_string(*index)});
    }
    if (const auto* text = std::get_if<std::string>(&value.v)) {
      const int64_t n = jinja_length(value, line), at = *index < 0 ? *index + n : *index;
      if (at < 0 || at >= n) return JinjaUndefined{std::to_string(*index)};
      size_t byte = 0;
      for (int64_t i = 0; i < at; ++i) byte += decode_char(*text, byte).bytes;
      return text->substr(byte, decode_char(*text, byte).bytes);
    }
    jinja_fail(line, "an index into " + jinja_type(value));
  }
  const std::string& name = jinja_string(key, "an index", line);
  if (const auto* dict = std::get_if<Dict>(&value.v)) {
    for (const auto& [known, member] : **dict) {
      if (known == name) return member;
    }
    return JinjaUndefined{name};
  }
  return jinja_attribute(value, name, line);
}

JinjaList jinja_items(const JinjaValue& value, int line) {
  if (const auto* list = std::get_if<List>(&value.v)) return **list;
  JinjaList out;
  if (const auto* dict = std::get_if<Dict>(&value.v)) {
    for (const auto& member : **dict) out.emplace_back(member.first);
    return out;
  }
  if (const auto* text = std::get_if<std::string>(&value.v)) {
    for (size_t at = 0; at < text->size(); at += decode_char(*text, at).bytes) out.emplace_back(text->substr(at, decode_char(*text, at).bytes));
    return out;
  }
  if (std::holds_alternative<JinjaUndefined>(value.v)) return out;
  jinja_fail(line, "going through " + jinja_type(value));
}

}  // namespace moiety::text
