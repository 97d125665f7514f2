// What a template is parsed into.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja.h"

namespace moiety::text {

constexpr int kJinjaDepth = 64;       // nested blocks and brackets
constexpr int kJinjaTreeDepth = 256;  // of one expression's tree: chains count too

struct JinjaExpression;
using JinjaExpressionPtr = std::unique_ptr<JinjaExpression>;

struct JinjaExpression {
  enum class Kind {
    kLiteral, kName, kList, kDict, kAttribute, kItem, kSlice, kCall, kFilter, kTest, kNot, kNegate, kAnd, kOr, kIfElse, kBinary,
  };
  Kind kind = Kind::kLiteral;
  int line = 0;
  int depth = 1;
  JinjaValue value;                           // kLiteral
  std::string name;                           // name, attribute, filter, test, operator
  bool negated = false;                       // kTest: is not
  std::vector<JinjaExpressionPtr> parts;      // operands; a null part is one that was left out (slices, else)
  std::vector<std::pair<std::string, JinjaExpressionPtr>> named;  // keyword arguments
};

struct JinjaNode {
  enum class Kind { kText, kOutput, kIf, kFor, kSet, kSetBlock, kBreak, kContinue };
  Kind kind = Kind::kText;
  int line = 0;
  std::string text;                   // kText
  std::vector<std::string> targets;   // kFor, kSet: names; "ns.x" for a namespace's member
  JinjaExpressionPtr expression;      // kOutput, kFor (what to go through), kSet
  JinjaExpressionPtr condition;       // kFor: loop filter
  std::vector<std::pair<JinjaExpressionPtr, std::vector<JinjaNode>>> branches;  // kIf; a null condition is else
  std::vector<JinjaNode> body, otherwise;  // kFor, kSetBlock
};

struct JinjaTemplate::Program {
  std::vector<JinjaNode> nodes;
};

std::vector<JinjaNode> parse_jinja(std::string_view source);

[[noreturn]] void jinja_fail(int line, const std::string& what);

// Values (jinja_value.cpp).
bool jinja_truth(const JinjaValue& value);
bool jinja_equal(const JinjaValue& a, const JinjaValue& b);
std::string jinja_text(const JinjaValue& value, int line);  // what {{ value }} writes
std::string jinja_type(const JinjaValue& value);
const std::string& jinja_string(const JinjaValue& value, const char* what, int line);  // fails where it is none
int64_t jinja_length(const JinjaValue& value, int line);
// As json.dumps(ensure_ascii=False) writes it. `indent` < 0: on one line.
std::string jinja_json(const JinjaValue& value, int indent, int line);
JinjaValue jinja_attribute(const JinjaValue& value, const std::string& name, int line);
JinjaValue jinja_item(const JinjaValue& value, const JinjaValue& key, int line);
JinjaList jinja_items(const JinjaValue& value, int line);  // what a for loop goes through

// Filters, methods and functions that need nothing but their values (jinja_builtins.cpp).
struct JinjaArguments {
  std::vector<JinjaValue> plain;
  std::vector<std::pair<std::string, JinjaValue>> named;
  int line = 0;

  const JinjaValue* get(size_t index, std::string_view name) const;
};
bool jinja_test(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments);
JinjaValue jinja_filter(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments);
JinjaValue jinja_call(const JinjaFunction& function, const JinjaArguments& arguments);

}  // namespace moiety::text
