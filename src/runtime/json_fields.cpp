#include "runtime/json_fields.h"

#include <algorithm>

#include "core/error.h"

namespace moiety {

JsonFields::JsonFields(simdjson::dom::object object, std::string subject)
    : object_(object), subject_(std::move(subject)) {
  std::unordered_set<std::string_view> seen;
  for (const auto& field : object_) {
    if (!seen.insert(field.key).second)
      fail(Status::kFormat, "{}: key '{}' is there twice", subject_, printable(field.key));
  }
}

std::optional<simdjson::dom::element> JsonFields::find(std::string_view key) {
  used_.emplace(key);
  simdjson::dom::element element;
  if (object_.at_key(key).get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
  return element;
}

void JsonFields::wrong(std::string_view key, const char* expected) const {
  fail(Status::kFormat, "{}: {} is {}, expected {}", subject_, printable(key), raw(key), expected);
}

bool JsonFields::present(std::string_view key) { return find(key).has_value(); }

std::optional<int64_t> JsonFields::integer(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  int64_t value;
  if (element->get(value) == simdjson::SUCCESS) return value;
  double real;  // 4096.0 is a count too; 1.5 is not
  if (element->get(real) == simdjson::SUCCESS && real >= -9e15 && real <= 9e15 &&
      real == static_cast<double>(static_cast<int64_t>(real))) {
    return static_cast<int64_t>(real);
  }
  wrong(key, "an integer");
}

std::optional<double> JsonFields::number(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  double value;
  if (element->get(value) != simdjson::SUCCESS) wrong(key, "a number");
  return value;
}

std::optional<bool> JsonFields::boolean(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  bool value;
  if (element->get(value) != simdjson::SUCCESS) wrong(key, "true or false");
  return value;
}

std::optional<std::string> JsonFields::string(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  std::string_view value;
  if (element->get(value) != simdjson::SUCCESS) wrong(key, "a string");
  return std::string(value);
}

std::optional<std::vector<double>> JsonFields::numbers(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  simdjson::dom::array array;
  if (element->get(array) != simdjson::SUCCESS) wrong(key, "a list of numbers");
  std::vector<double> values;
  for (const auto item : array) {
    double value;
    if (item.get(value) != simdjson::SUCCESS) wrong(key, "a list of numbers");
    values.push_back(value);
  }
  return values;
}

std::optional<std::vector<std::string>> JsonFields::strings(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  simdjson::dom::array array;
  if (element->get(array) != simdjson::SUCCESS) wrong(key, "a list of strings");
  std::vector<std::string> values;
  for (const auto item : array) {
    std::string_view value;
    if (item.get(value) != simdjson::SUCCESS) wrong(key, "a list of strings");
    values.emplace_back(value);
  }
  return values;
}

std::optional<JsonFields> JsonFields::object(std::string_view key) {
  const auto element = find(key);
  if (!element) return std::nullopt;
  simdjson::dom::object value;
  if (element->get(value) != simdjson::SUCCESS) wrong(key, "an object");
  return JsonFields(value, subject_ + ": " + std::string(key));
}

std::vector<JsonFields> JsonFields::objects(std::string_view key) {
  std::vector<JsonFields> objects;
  const auto element = find(key);
  if (!element) return objects;
  simdjson::dom::array array;
  if (element->get(array) != simdjson::SUCCESS) wrong(key, "a list of objects");
  for (const auto item : array) {
    simdjson::dom::object value;
    if (item.get(value) != simdjson::SUCCESS) wrong(key, "a list of objects");
    objects.emplace_back(value, subject_ + ": " + std::string(key));
  }
  return objects;
}

std::vector<int32_t> JsonFields::ids(std::string_view key) {
  const auto element = find(key);
  if (!element) return {};
  std::vector<int32_t> ids;
  const auto take = [&](simdjson::dom::element item) {
    int64_t value;
    if (item.get(value) != simdjson::SUCCESS || value < 0 || value > INT32_MAX)
      wrong(key, "a token id or a list of them");
    ids.push_back(static_cast<int32_t>(value));
  };
  simdjson::dom::array array;
  if (element->get(array) != simdjson::SUCCESS) {
    // -1 stands for "none" in some files.
    int64_t value;
    if (element->get(value) == simdjson::SUCCESS && value == -1) return {};
    take(*element);
    return ids;
  }
  for (const auto item : array) take(item);
  return ids;
}

int JsonFields::count(std::string_view key, std::optional<int> otherwise) {
  const auto value = integer(key);
  if (!value) {
    if (otherwise) return *otherwise;
    fail(Status::kFormat, "{}: {} is missing", subject_, printable(key));
  }
  if (*value < INT32_MIN || *value > INT32_MAX) wrong(key, "a count below 2^31");
  return static_cast<int>(*value);
}

std::vector<std::string> JsonFields::unused() const {
  std::vector<std::string> keys;
  for (const auto& field : object_) {
    if (!used_.contains(std::string(field.key))) keys.emplace_back(field.key);
  }
  return keys;
}

std::string JsonFields::raw(std::string_view key) const {
  simdjson::dom::element element;
  if (object_.at_key(key).get(element) != simdjson::SUCCESS) return "absent";
  return printable(simdjson::minify(element));
}

bool JsonFields::null_or_false_or_zero(std::string_view key) const {
  simdjson::dom::element element;
  if (object_.at_key(key).get(element) != simdjson::SUCCESS || element.is_null()) return true;
  bool flag;
  double value;
  simdjson::dom::array array;
  simdjson::dom::object object;
  if (element.get(flag) == simdjson::SUCCESS) return !flag;
  if (element.get(value) == simdjson::SUCCESS) return value == 0;
  if (element.get(array) == simdjson::SUCCESS) return array.size() == 0;
  if (element.get(object) == simdjson::SUCCESS) return object.size() == 0;
  return false;
}

bool JsonFields::equals(std::string_view key, double value) const {
  simdjson::dom::element element;
  double found;
  return object_.at_key(key).get(element) != simdjson::SUCCESS || element.is_null() ||
         (element.get(found) == simdjson::SUCCESS && found == value);
}

}  // namespace moiety
