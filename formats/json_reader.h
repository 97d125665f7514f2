// JsonReader: strict reading of a hostile JSON text with simdjson, for headers whose form is known. Every failure is an
// Error(kFormat) with file, byte offset and field. Only the formats include this.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapped_file.h"

namespace moiety {

// What is being read, put together only for an error: "tensor 'a.weight' shape".
struct JsonField {
  const char* kind;
  std::string_view name = {};
  std::string_view key = {};
  std::string text() const;
};

class JsonReader {
 public:
  // Text [begin, begin + size) of the file. Checks UTF-8 and nesting (at most max_depth) before anything is parsed.
  JsonReader(const MappedFile& file, uint64_t begin, uint64_t size, int max_depth);

  using Object = simdjson::ondemand::object;
  using Value = simdjson::ondemand::value;
  using Member = std::function<void(std::string_view key, Value value)>;  // the key lives as long as the reader

  // Calls member(key, value) for each member of the root object, which must be all there is. No check for duplicates.
  void root(const Member& member);
  // The same for a nested object; a duplicate key is an error (small objects: the keys are compared one by one).
  void object(Value value, const JsonField& field, const Member& member);
  void array(Value value, const JsonField& field, const std::function<void(Value)>& element);
  std::string string(Value value, const JsonField& field);
  uint64_t unsigned_integer(Value value, const JsonField& field);
  // Passes over a value of any kind.
  void skip(Value value, const JsonField& field);

  [[noreturn]] void error(const std::string& what) const;                      // at the place reached
  [[noreturn]] void error_at(uint64_t offset, const std::string& what) const;  // offset in the file

 private:
  void check(simdjson::error_code code, const JsonField& field) const;
  void members(Object object, const JsonField& field, const Member& member);

  const MappedFile& file_;
  uint64_t begin_;
  std::string_view text_;
  simdjson::padded_string copy_;  // only if the mapping ends too close behind the text
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
};

}  // namespace moiety
