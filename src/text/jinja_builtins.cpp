// Filters, tests, methods and functions. Each does what that of the same name does in Python or Jinja, or is not here.
#include <algorithm>

#include "core/error.h"
#include "text/jinja_program.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

using List = std::shared_ptr<JinjaList>;
using Dict = std::shared_ptr<JinjaDict>;

constexpr int64_t kLongestRange = 25'000;

// Characters of `set` (or white space) go from both ends, or from one.
std::string strip(const std::string& text, const JinjaValue* set, bool left, bool right, int line) {
  const std::string* chars = set ? &jinja_string(*set, "strip", line) : nullptr;
  auto goes = [&](size_t at) {
    const Char c = decode_char(text, at);
    if (chars == nullptr) return is_space(c.point) || (c.point >= 0x1C && c.point <= 0x1F);
    for (size_t i = 0; i < chars->size(); i += decode_char(*chars, i).bytes) {
      if (decode_char(*chars, i).point == c.point) return true;
    }
    return false;
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end && goes(begin)) begin += decode_char(text, begin).bytes;
  while (right && end > begin && goes(previous_char(text, end))) end = previous_char(text, end);
  return text.substr(begin, end - begin);
}

std::string replace(const std::string& text, const std::string& from, const std::string& to, int line) {
  if (from.empty()) jinja_fail(line, "replacing nothing");
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string::npos; at = hit + from.size()) {
    if (out.size() > (size_t{16} << 20)) jinja_fail(line, "so long a replacement");
    out += text.substr(at, hit - at) + to;
  }
  return out + text.substr(at);
}

// Only ASCII: other letters need tables that templates never ask for.
std::string change_case(const std::string& text, bool upper, const char* what, int line) {
  std::string out = text;
  for (char& c : out) {
    if (static_cast<signed char>(c) < 0) jinja_fail(line, fmt::format("{} of other than ASCII", what));
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

// A capital first letter of the text, or of each word: the method title() begins one after anything but a letter, the
// filter only after white space, a hyphen or an opening bracket.
enum class Capital { kText, kMethodTitle, kFilterTitle };

std::string capitalize(const std::string& text, Capital which, int line) {
  std::string out = change_case(text, false, "a capital letter", line);
  bool start = true;
  for (char& c : out) {
    const bool letter = c >= 'a' && c <= 'z';
    if (start && letter) c = static_cast<char>(c - 32);
    if (which == Capital::kText) start = false;
    else if (which == Capital::kMethodTitle) start = !letter;
    else start = std::string_view(" \t\n\r-({[<").find(c) != std::string_view::npos;
  }
  return out;
}

JinjaValue split(const std::string& text, const JinjaArguments& arguments) {
  auto out = std::make_shared<JinjaList>();
  const auto* separator = arguments.get(0, "sep");
  if (arguments.get(1, "maxsplit")) jinja_fail(arguments.line, "split with a limit");
  if (separator == nullptr) {
    for (size_t at = 0; at < text.size();) {
      const Char c = decode_char(text, at);
      if (!is_space(c.point)) {
        size_t end = at;
        while (end < text.size() && !is_space(decode_char(text, end).point)) end += decode_char(text, end).bytes;
        out->push_back(text.substr(at, end - at));
        at = end;
      } else {
        at += c.bytes;
      }
    }
    return out;
  }
  const std::string& by = jinja_string(*separator, "split", arguments.line);
  if (by.empty()) jinja_fail(arguments.line, "split by nothing");
  size_t at = 0;
  for (size_t hit; (hit = text.find(by, at)) != std::string::npos; at = hit + by.size()) out->push_back(text.substr(at, hit - at));
  out->push_back(text.substr(at));
  return out;
}

JinjaValue pairs(const Dict& dict) {
  auto out = std::make_shared<JinjaList>();
  for (const auto& [key, value] : *dict) out->push_back(std::make_shared<JinjaList>(JinjaList{key, value}));
  return out;
}

// selectattr(name), selectattr(name, test, argument), and their opposites.
JinjaValue select(const JinjaValue& value, const JinjaArguments& arguments, bool by_attribute, bool keep) {
  const size_t test_at = by_attribute ? 1 : 0;
  const auto* attribute = by_attribute ? arguments.get(0, "attribute") : nullptr;
  if (by_attribute && attribute == nullptr) jinja_fail(arguments.line, "selectattr without a name");
  const auto* test = arguments.get(test_at, "test");
  JinjaArguments rest;
  rest.line = arguments.line;
  for (size_t i = test_at + 1; i < arguments.plain.size(); ++i) rest.plain.push_back(arguments.plain[i]);
  auto out = std::make_shared<JinjaList>();
  for (const auto& item : jinja_items(value, arguments.line)) {
    const JinjaValue tested = attribute ? jinja_attribute(item, jinja_string(*attribute, "selectattr", arguments.line), arguments.line) : item;
    const bool holds = test ? jinja_test(jinja_string(*test, "select", arguments.line), tested, rest) : jinja_truth(tested);
    if (holds == keep) out->push_back(item);
  }
  return out;
}

JinjaValue map(const JinjaValue& value, const JinjaArguments& arguments) {
  const auto* attribute = arguments.get(~size_t{0}, "attribute");
  auto out = std::make_shared<JinjaList>();
  JinjaArguments rest;
  rest.line = arguments.line;
  for (size_t i = 1; i < arguments.plain.size(); ++i) rest.plain.push_back(arguments.plain[i]);
  for (const auto& item : jinja_items(value, arguments.line)) {
    if (attribute) out->push_back(jinja_attribute(item, jinja_string(*attribute, "map", arguments.line), arguments.line));
    else if (!arguments.plain.empty()) out->push_back(jinja_filter(jinja_string(arguments.plain[0], "map", arguments.line), item, rest));
    else jinja_fail(arguments.line, "map without an argument");
  }
  return out;
}

JinjaValue range(const JinjaArguments& arguments) {
  int64_t bounds[3] = {0, 0, 1};
  const size_t n = arguments.plain.size();
  if (n < 1 || n > 3) jinja_fail(arguments.line, "range() of these arguments");
  for (size_t i = 0; i < n; ++i) {
    const auto* number = std::get_if<int64_t>(&arguments.plain[i].v);
    if (number == nullptr || *number > (1 << 30) || *number < -(1 << 30)) jinja_fail(arguments.line, "range() of these arguments");
    bounds[n == 1 ? 1 : i] = *number;
  }
  if (bounds[2] == 0) jinja_fail(arguments.line, "range() with a step of 0");
  auto out = std::make_shared<JinjaList>();
  for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2]) {
    if (static_cast<int64_t>(out->size()) >= kLongestRange) jinja_fail(arguments.line, fmt::format("a range of more than {}", kLongestRange));
    out->push_back(i);
  }
  return out;
}

JinjaValue string_method(const std::string& name, const std::string& text, const JinjaArguments& arguments) {
  const int line = arguments.line;
  auto argument = [&](size_t i, const char* what) -> const std::string& {
    const auto* value = arguments.get(i, what);
    if (value == nullptr) jinja_fail(line, fmt::format("{}() without an argument", name));
    return jinja_string(*value, name.c_str(), line);
  };
  if (name == "strip") return strip(text, arguments.get(0, "chars"), true, true, line);
  if (name == "lstrip") return strip(text, arguments.get(0, "chars"), true, false, line);
  if (name == "rstrip") return strip(text, arguments.get(0, "chars"), false, true, line);
  if (name == "startswith") return text.starts_with(argument(0, "prefix"));
  if (name == "endswith") return text.ends_with(argument(0, "suffix"));
  if (name == "upper" || name == "lower") return change_case(text, name == "upper", name.c_str(), line);
  if (name == "title" || name == "capitalize") return capitalize(text, name == "title" ? Capital::kMethodTitle : Capital::kText, line);
  if (name == "replace") return replace(text, argument(0, "old"), argument(1, "new"), line);
  if (name == "split") return split(text, arguments);
  jinja_fail(line, fmt::format("the string method '{}'", printable(name)));
}

JinjaValue dict_method(const std::string& name, const Dict& dict, const JinjaArguments& arguments) {
  if (name == "items") return pairs(dict);
  if (name == "get") {
    const auto* key = arguments.get(0, "key");
    if (key == nullptr) jinja_fail(arguments.line, "get() without a key");
    for (const auto& [known, value] : *dict) {
      if (known == jinja_string(*key, "get", arguments.line)) return value;
    }
    const auto* otherwise = arguments.get(1, "default");
    return otherwise ? *otherwise : JinjaValue(JinjaNone{});
  }
  auto out = std::make_shared<JinjaList>();
  for (const auto& [key, value] : *dict) out->push_back(name == "keys" ? JinjaValue(key) : value);
  return out;
}

bool contains(const JinjaValue& container, const JinjaValue& item, int line) {
  if (const auto* text = std::get_if<std::string>(&container.v)) return text->find(jinja_string(item, "a search", line)) != std::string::npos;
  if (const auto* dict = std::get_if<Dict>(&container.v)) {
    const auto* key = std::get_if<std::string>(&item.v);
    return key && std::any_of((*dict)->begin(), (*dict)->end(), [&](const auto& member) { return member.first == *key; });
  }
  const JinjaList items = jinja_items(container, line);
  return std::any_of(items.begin(), items.end(), [&](const JinjaValue& other) { return jinja_equal(other, item); });
}

}  // namespace

const JinjaValue* JinjaArguments::get(size_t index, std::string_view name) const {
  if (index < plain.size()) return &plain[index];
  for (const auto& [known, value] : named) {
    if (known == name) return &value;
  }
  return nullptr;
}

bool jinja_test(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments) {
  auto is = [&](auto* type) { return std::holds_alternative<std::remove_pointer_t<decltype(type)>>(value.v); };
  const bool number = is(static_cast<int64_t*>(nullptr)) || is(static_cast<double*>(nullptr));
  const bool text = is(static_cast<std::string*>(nullptr)), list = is(static_cast<List*>(nullptr)), dict = is(static_cast<Dict*>(nullptr));
  if (name == "defined") return !is(static_cast<JinjaUndefined*>(nullptr));
  if (name == "undefined") return is(static_cast<JinjaUndefined*>(nullptr));
  if (name == "none") return is(static_cast<JinjaNone*>(nullptr));
  if (name == "string") return text;
  if (name == "mapping") return dict;
  if (name == "iterable" || name == "sequence") return text || list || dict;
  if (name == "number") return number || is(static_cast<bool*>(nullptr));
  if (name == "integer") return is(static_cast<int64_t*>(nullptr));
  if (name == "boolean") return is(static_cast<bool*>(nullptr));
  if (name == "true" || name == "false") return is(static_cast<bool*>(nullptr)) && std::get<bool>(value.v) == (name == "true");
  const auto* other = arguments.get(0, "other");
  if (other && (name == "equalto" || name == "eq" || name == "==")) return jinja_equal(value, *other);
  if (other && (name == "ne" || name == "!=")) return !jinja_equal(value, *other);
  if (other && name == "in") return contains(*other, value, arguments.line);
  if (number && (name == "odd" || name == "even")) {
    const auto* integer = std::get_if<int64_t>(&value.v);
    if (integer) return ((*integer & 1) != 0) == (name == "odd");
  }
  jinja_fail(arguments.line, fmt::format("the test '{}' of {}", printable(name), jinja_type(value)));
}

JinjaValue jinja_filter(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments) {
  const int line = arguments.line;
  if (name == "length" || name == "count") return jinja_length(value, line);
  if (name == "tojson") {
    const auto* indent = arguments.get(0, "indent");
    const auto* spaces = indent ? std::get_if<int64_t>(&indent->v) : nullptr;
    if (spaces && (*spaces < 0 || *spaces > 16)) jinja_fail(line, "this indent");
    return jinja_json(value, spaces ? static_cast<int>(*spaces) : -1, line);
  }
  if (name == "string") return jinja_text(value, line);
  if (name == "safe") return value;
  if (name == "default" || name == "d") {
    const auto* otherwise = arguments.get(0, "default_value");
    const auto* boolean = arguments.get(1, "boolean");
    const bool missing = std::holds_alternative<JinjaUndefined>(value.v) || (boolean && jinja_truth(*boolean) && !jinja_truth(value));
    return missing ? (otherwise ? *otherwise : JinjaValue("")) : value;
  }
  if (name == "trim") return strip(jinja_text(value, line), arguments.get(0, "chars"), true, true, line);
  if (name == "title") return capitalize(jinja_text(value, line), Capital::kFilterTitle, line);
  if (name == "upper" || name == "lower" || name == "capitalize" || name == "replace") {
    return string_method(name, jinja_text(value, line), arguments);
  }
  if (name == "items") {
    if (const auto* dict = std::get_if<Dict>(&value.v)) return pairs(*dict);
  }
  if (name == "selectattr" || name == "rejectattr") return select(value, arguments, true, name == "selectattr");
  if (name == "select" || name == "reject") return select(value, arguments, false, name == "select");
  if (name == "map") return map(value, arguments);
  if (name == "list" || name == "first" || name == "last" || name == "join" || name == "reverse") {
    JinjaList items = jinja_items(value, line);
    if (name == "list") return std::make_shared<JinjaList>(std::move(items));
    if (name == "reverse") {
      if (std::holds_alternative<std::string>(value.v)) jinja_fail(line, "reverse of a string");
      std::reverse(items.begin(), items.end());
      return std::make_shared<JinjaList>(std::move(items));
    }
    if (name != "join") return items.empty() ? JinjaValue(JinjaUndefined{name}) : name == "first" ? items.front() : items.back();
    std::string out;
    const auto* between = arguments.get(0, "d");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0 && between) out += jinja_text(*between, line);
      out += jinja_text(items[i], line);
    }
    return out;
  }
  jinja_fail(line, fmt::format("the filter '{}' of {}", printable(name), jinja_type(value)));
}

JinjaValue jinja_call(const JinjaFunction& function, const JinjaArguments& arguments) {
  if (function.self) {
    if (const auto* text = std::get_if<std::string>(&function.self->v)) return string_method(function.name, *text, arguments);
    return dict_method(function.name, std::get<Dict>(function.self->v), arguments);
  }
  if (function.name == "range") return range(arguments);
  if (function.name == "dict") {
    if (arguments.plain.empty()) return std::make_shared<JinjaDict>(arguments.named);
    jinja_fail(arguments.line, "dict() of a value");
  }
  if (function.name == "raise_exception") {
    const auto* message = arguments.get(0, "message");
    fail(Status::kInvalidArgument, "the chat template refuses: {}", message ? printable(jinja_text(*message, arguments.line)) : "no reason");
  }
  jinja_fail(arguments.line, fmt::format("the function '{}'", printable(function.name)));
}

}  // namespace moiety::text
