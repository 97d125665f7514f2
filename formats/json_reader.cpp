#include "formats/json_reader.h"

#include <algorithm>

#include "core/error.h"

namespace moiety {
namespace {

namespace od = simdjson::ondemand;

// Where nesting first exceeds the limit; npos if it does not.
size_t too_deep(std::string_view text, int limit) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
      continue;
    }
    if (c == '"')
      quoted = true;
    else if ((c == '{' || c == '[') && ++depth > limit)
      return i;
    else if (c == '}' || c == ']')
      --depth;
  }
  return std::string_view::npos;
}

}  // namespace

std::string JsonField::text() const {
  std::string out = kind;
  if (!name.empty()) out += fmt::format(" '{}'", printable(name));
  if (!key.empty()) out += fmt::format(" {}", printable(key));
  return out;
}

JsonReader::JsonReader(const MappedFile& file, uint64_t begin, uint64_t size, int max_depth)
    : file_(file), begin_(begin), text_(reinterpret_cast<const char*>(file.bytes().data()) + begin, size) {
  if (!simdjson::validate_utf8(text_.data(), text_.size())) error_at(begin, "the JSON text is not valid UTF-8");
  const size_t deep = too_deep(text_, max_depth);
  if (deep != std::string_view::npos) error_at(begin + deep, fmt::format("JSON nested deeper than {}", max_depth));
  size_t capacity = file.size() - begin;
  if (capacity < size + simdjson::SIMDJSON_PADDING) {
    copy_ = simdjson::padded_string(text_);
    text_ = copy_;
    capacity = size + simdjson::SIMDJSON_PADDING;
  }
  const auto code = parser_.iterate(simdjson::padded_string_view(text_.data(), text_.size(), capacity)).get(document_);
  if (code != simdjson::SUCCESS) error_at(begin, fmt::format("JSON: {}", simdjson::error_message(code)));
}

void JsonReader::error_at(uint64_t offset, const std::string& what) const {
  fail(Status::kFormat, "{} @{:#x}: {}", printable(file_.name()), offset, what);
}

void JsonReader::error(const std::string& what) const {
  const char* at = nullptr;
  auto& document = const_cast<od::document&>(document_);
  const bool known = document.current_location().get(at) == simdjson::SUCCESS && at >= text_.data() &&
                     at <= text_.data() + text_.size();
  error_at(begin_ + (known ? static_cast<uint64_t>(at - text_.data()) : text_.size()), what);
}

void JsonReader::check(simdjson::error_code code, const JsonField& field) const {
  if (code != simdjson::SUCCESS) error(fmt::format("{}: {}", field.text(), simdjson::error_message(code)));
}

void JsonReader::members(Object object, const JsonField& field, const Member& member) {
  for (auto item : object) {
    od::field entry;
    check(std::move(item).get(entry), field);
    std::string_view key;
    check(entry.unescaped_key().get(key), field);
    if (key.find('\0') != std::string_view::npos)
      error(fmt::format("{}: a key holds a NUL: '{}'", field.text(), printable(key)));
    member(key, entry.value());
  }
}

void JsonReader::root(const Member& member) {
  od::object object;
  check(document_.get_object().get(object), {"root"});
  members(object, {"root"}, member);
  const char* at = nullptr;
  if (document_.current_location().get(at) == simdjson::SUCCESS) error("something follows the JSON object");
}

void JsonReader::object(Value value, const JsonField& field, const Member& member) {
  od::object object;
  check(value.get_object().get(object), field);
  std::vector<std::string_view> seen;
  members(object, field, [&](std::string_view key, Value inner) {
    seen.push_back(key);
    member(key, inner);
  });
  std::sort(seen.begin(), seen.end());
  const auto twice = std::adjacent_find(seen.begin(), seen.end());
  if (twice != seen.end()) error(fmt::format("{}: the key '{}' stands twice", field.text(), printable(*twice)));
}

void JsonReader::array(Value value, const JsonField& field, const std::function<void(Value)>& element) {
  od::array array;
  check(value.get_array().get(array), field);
  for (auto item : array) {
    od::value inner;
    check(std::move(item).get(inner), field);
    element(inner);
  }
}

std::string JsonReader::string(Value value, const JsonField& field) {
  std::string_view text;
  check(value.get_string().get(text), field);
  return std::string(text);
}

uint64_t JsonReader::unsigned_integer(Value value, const JsonField& field) {
  uint64_t number = 0;
  check(value.get_uint64().get(number), field);
  return number;
}

void JsonReader::skip(Value value, const JsonField& field) {
  od::json_type type;
  check(value.type().get(type), field);
  switch (type) {
    case od::json_type::object:
      object(value, field, [&](std::string_view key, Value inner) { skip(inner, {field.kind, key}); });
      break;
    case od::json_type::array:
      array(value, field, [&](Value inner) { skip(inner, field); });
      break;
    case od::json_type::string:
      string(value, field);
      break;
    case od::json_type::number: {
      od::number number;
      check(value.get_number().get(number), field);
      break;
    }
    case od::json_type::boolean: {
      bool flag;
      check(value.get_bool().get(flag), field);
      break;
    }
    case od::json_type::null: {
      bool null = false;
      check(value.is_null().get(null), field);
      if (!null) error(fmt::format("{}: broken JSON", field.text()));
      break;
    }
  }
}

}  // namespace moiety
