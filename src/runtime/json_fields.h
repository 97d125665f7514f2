// JsonFields: the fields of one JSON object, read by type, remembering which were asked for.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace moiety {

class JsonFields {
 public:
  // `subject` names the file in errors. Throws Error kFormat on a key that is there twice.
  JsonFields(simdjson::dom::object object, std::string subject);

  // Each getter marks the key as used; null counts as absent. A wrong type is an Error kFormat naming file and key.
  bool present(std::string_view key);  // there and not null
  std::optional<int64_t> integer(std::string_view key);
  std::optional<double> number(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::string> string(std::string_view key);
  std::optional<std::vector<double>> numbers(std::string_view key);  // a list
  std::optional<std::vector<std::string>> strings(std::string_view key);
  std::optional<JsonFields> object(std::string_view key);
  std::vector<JsonFields> objects(std::string_view key);  // a list; empty if it is absent
  std::vector<int32_t> ids(std::string_view key);  // one id, a list of ids, or nothing

  // A count that must fit an int; `otherwise` where absent. Range checks are check_config's.
  int count(std::string_view key, std::optional<int> otherwise = std::nullopt);

  std::vector<std::string> unused() const;
  const std::string& subject() const { return subject_; }
  std::string raw(std::string_view key) const;  // as JSON text, cut, for messages
  bool null_or_false_or_zero(std::string_view key) const;
  bool equals(std::string_view key, double value) const;

 private:
  std::optional<simdjson::dom::element> find(std::string_view key);
  [[noreturn]] void wrong(std::string_view key, const char* expected) const;

  simdjson::dom::object object_;
  std::string subject_;
  std::unordered_set<std::string> used_;
};

}  // namespace moiety
