// The part of Jinja that chat templates use, sandboxed: no access to anything but the values that are handed in, with
// limits on depth, steps and output. What is beyond it is refused by name (Error kUnsupported), never guessed.
// Whitespace as transformers sets it: trim_blocks, lstrip_blocks, no newline kept at the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace moiety::text {

struct JinjaValue;
using JinjaList = std::vector<JinjaValue>;
using JinjaDict = std::vector<std::pair<std::string, JinjaValue>>;  // in order of insertion

struct JinjaUndefined {
  std::string name;
};
struct JinjaNone {};
struct JinjaFunction {  // a builtin, or a method bound to a value
  std::string name;
  std::shared_ptr<JinjaValue> self;
};

struct JinjaValue {
  std::variant<JinjaUndefined, JinjaNone, bool, int64_t, double, std::string, std::shared_ptr<JinjaList>,
               std::shared_ptr<JinjaDict>, JinjaFunction>
      v;

  JinjaValue() = default;
  template <class T>
    requires(!std::is_same_v<std::decay_t<T>, JinjaValue>)
  JinjaValue(T value) : v(std::move(value)) {}
  JinjaValue(const char* text) : v(std::string(text)) {}
};

// A parsed template. Immutable; any number of threads may render it.
class JinjaTemplate {
 public:
  // Throws Error kUnsupported with the line for syntax that is wrong or not supported.
  explicit JinjaTemplate(std::string_view source);
  ~JinjaTemplate();
  JinjaTemplate(JinjaTemplate&&) noexcept;
  // Throws Error kUnsupported: something not supported or a limit is reached; kInvalidArgument: raise_exception().
  std::string render(const JinjaDict& variables) const;

  struct Program;

 private:
  std::unique_ptr<const Program> program_;
};

}  // namespace moiety::text
