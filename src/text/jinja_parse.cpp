#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "text/jinja_lex.h"
#include "text/jinja_program.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

using Kind = JinjaExpression::Kind;

using Token = JinjaToken;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  std::vector<JinjaNode> run() {
    auto nodes = body({});
    if (now().type != Token::Type::kEnd) refuse("'" + printable(now().text) + "' here");
    return nodes;
  }

 private:
  using Type = Token::Type;
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[now().type == Type::kEnd ? at_ : at_++]; }
  [[noreturn]] void refuse(const std::string& what) const { jinja_fail(now().line, what); }
  bool is(Type type, std::string_view text) const { return now().type == type && now().text == text; }
  bool skip(Type type, std::string_view text) {
    if (!is(type, text)) return false;
    ++at_;
    return true;
  }
  void expect(Type type, std::string_view text) {
    if (!skip(type, text)) refuse(fmt::format("expected '{}', found '{}'", text, printable(now().text)));
  }
  bool op(std::string_view text) { return skip(Type::kOperator, text); }
  bool word(std::string_view text) { return skip(Type::kName, text); }
  std::string name() {
    if (now().type != Type::kName) refuse("expected a name");
    return take().text;
  }
  void end_block() {
    if (now().type != Type::kBlockEnd) refuse(fmt::format("'{}' at the end of a block", printable(now().text)));
    ++at_;
  }

  struct Nested {
    explicit Nested(Parser& p) : parser(p) {
      if (++parser.depth_ > kJinjaDepth) parser.refuse(fmt::format("more than {} levels", kJinjaDepth));
    }
    ~Nested() { --parser.depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    Parser& parser;
  };

  // Nodes up to a block whose first word is in `ends`; that block's begin is consumed, its word is not.
  std::vector<JinjaNode> body(std::initializer_list<std::string_view> ends) {
    const Nested nested(*this);
    std::vector<JinjaNode> out;
    while (now().type != Type::kEnd) {
      if (now().type == Type::kText) {
        JinjaNode node;
        node.text = take().text;
        out.push_back(std::move(node));
      } else if (now().type == Type::kOutputBegin) {
        JinjaNode node;
        node.kind = JinjaNode::Kind::kOutput;
        node.line = take().line;
        node.expression = expression();
        if (now().type != Type::kOutputEnd) refuse(fmt::format("'{}' in an expression", printable(now().text)));
        ++at_;
        out.push_back(std::move(node));
      } else {
        ++at_;
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end() && now().type == Type::kName) return out;
        statement(out);
      }
    }
    if (ends.size() > 0) refuse("the template ends inside a block");
    return out;
  }

  void statement(std::vector<JinjaNode>& out) {
    JinjaNode node;
    node.line = now().line;
    const std::string keyword = name();
    if (keyword == "if") {
      node.kind = JinjaNode::Kind::kIf;
      parse_if(node);
    } else if (keyword == "for") {
      node.kind = JinjaNode::Kind::kFor;
      parse_for(node);
    } else if (keyword == "set") {
      parse_set(node);
    } else if (keyword == "break" || keyword == "continue") {
      node.kind = keyword == "break" ? JinjaNode::Kind::kBreak : JinjaNode::Kind::kContinue;
      end_block();
    } else if (keyword == "generation") {  // only marks the answer for training
      end_block();
      auto inside = body({"endgeneration"});
      ++at_;
      end_block();
      for (auto& part : inside) out.push_back(std::move(part));
      return;
    } else {
      jinja_fail(node.line, fmt::format("the statement '{}'", printable(keyword)));
    }
    out.push_back(std::move(node));
  }

  void parse_if(JinjaNode& node) {
    JinjaExpressionPtr condition = expression();
    end_block();
    for (;;) {
      auto inside = body({"elif", "else", "endif"});
      node.branches.emplace_back(std::move(condition), std::move(inside));
      const std::string keyword = name();
      if (keyword == "endif") return end_block();
      condition = keyword == "elif" ? expression() : nullptr;
      end_block();
    }
  }

  void parse_for(JinjaNode& node) {
    do node.targets.push_back(name());
    while (op(","));
    expect(Type::kName, "in");
    node.expression = without_if();
    if (word("if")) node.condition = expression();
    if (is(Type::kName, "recursive")) refuse("a recursive loop");
    end_block();
    node.body = body({"else", "endfor"});
    if (word("else")) {
      end_block();
      node.otherwise = body({"endfor"});
    }
    expect(Type::kName, "endfor");
    end_block();
  }

  void parse_set(JinjaNode& node) {
    std::string target = name();
    if (op(".")) target += "." + name();
    node.targets.push_back(std::move(target));
    if (op("=")) {
      node.kind = JinjaNode::Kind::kSet;
      node.expression = expression();
      return end_block();
    }
    node.kind = JinjaNode::Kind::kSetBlock;
    end_block();
    node.body = body({"endset"});
    ++at_;
    end_block();
  }

  JinjaExpressionPtr make(Kind kind, std::string name = {}) {
    auto out = std::make_unique<JinjaExpression>();
    out->kind = kind;
    out->line = now().line;
    out->name = std::move(name);
    return out;
  }
  JinjaExpressionPtr make(Kind kind, std::string name, JinjaExpressionPtr a, JinjaExpressionPtr b = nullptr) {
    auto out = make(kind, std::move(name));
    adopt(*out, std::move(a));
    if (b) adopt(*out, std::move(b));
    return out;
  }
  // Long chains make deep trees without any nesting in the text, so the tree's own depth is limited too.
  void measure(JinjaExpression& parent, const JinjaExpressionPtr& child) const {
    if (child) parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kJinjaTreeDepth) refuse(fmt::format("an expression of more than {} steps", kJinjaTreeDepth));
  }
  void adopt(JinjaExpression& parent, JinjaExpressionPtr child) const {
    measure(parent, child);
    parent.parts.push_back(std::move(child));
  }

  JinjaExpressionPtr expression() {
    const Nested nested(*this);
    auto value = without_if();
    while (word("if")) {
      auto condition = without_if();
      auto choice = make(Kind::kIfElse, "", std::move(condition), std::move(value));
      adopt(*choice, word("else") ? expression() : nullptr);
      value = std::move(choice);
    }
    return value;
  }

  JinjaExpressionPtr without_if() {
    auto left = conjunction();
    while (word("or")) left = make(Kind::kOr, "", std::move(left), conjunction());
    return left;
  }
  JinjaExpressionPtr conjunction() {
    auto left = negation();
    while (word("and")) left = make(Kind::kAnd, "", std::move(left), negation());
    return left;
  }
  JinjaExpressionPtr negation() {
    if (!word("not")) return comparison();
    const Nested nested(*this);
    return make(Kind::kNot, "", negation());
  }

  JinjaExpressionPtr comparison() {
    auto left = sum();
    bool compared = false;
    for (;;) {
      std::string which;
      for (const std::string_view text : {"==", "!=", "<", ">", "<=", ">="}) {
        if (is(Type::kOperator, text)) which = text;
      }
      if (is(Type::kName, "in")) which = "in";
      if (is(Type::kName, "not") && ahead().type == Type::kName && ahead().text == "in") which = "not in";
      if (which.empty()) return left;
      if (compared) refuse("a chain of comparisons");
      compared = true;
      at_ += which == "not in" ? 2 : 1;
      left = make(Kind::kBinary, which, std::move(left), sum());
    }
  }

  // Left-associative levels, the loosest first, as Jinja has them: + -, then ~, then * / // %.
  JinjaExpressionPtr sum(size_t level = 0) {
    constexpr std::string_view kLevels[3][4] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}};
    if (level == 3) return unary();
    auto left = sum(level + 1);
    for (;;) {
      const auto* found = std::find_if(std::begin(kLevels[level]), std::end(kLevels[level]), [&](std::string_view text) {
        return !text.empty() && is(Type::kOperator, text);
      });
      if (found == std::end(kLevels[level])) return left;
      ++at_;
      left = make(Kind::kBinary, std::string(*found), std::move(left), sum(level + 1));
    }
  }

  JinjaExpressionPtr unary() {
    if (!is(Type::kOperator, "-") && !is(Type::kOperator, "+")) return filters(postfix(primary()));
    const Nested nested(*this);
    if (op("-")) return filters(make(Kind::kNegate, "", unary()));
    ++at_;
    return unary();
  }

  JinjaExpressionPtr filters(JinjaExpressionPtr value) {
    for (int links = 0;; ++links) {
      if (links > kJinjaDepth) refuse("a longer chain of filters");
      if (op("|")) {
        value = make(Kind::kFilter, name(), std::move(value));
        if (op("(")) arguments(*value);
      } else if (is(Type::kName, "is")) {
        ++at_;
        const bool negated = word("not");
        value = make(Kind::kTest, name(), std::move(value));
        value->negated = negated;
        if (op("(")) arguments(*value);
        else if (takes_argument(value->name)) adopt(*value, postfix(primary()));
      } else {
        return value;
      }
    }
  }
  static bool takes_argument(std::string_view test) {
    return test == "equalto" || test == "eq" || test == "ne" || test == "in" || test == "divisibleby" || test == "sameas";
  }

  void arguments(JinjaExpression& call) {
    while (!op(")")) {
      if (now().type == Type::kName && ahead().type == Type::kOperator && ahead().text == "=") {
        std::string key = name();
        ++at_;
        call.named.emplace_back(std::move(key), expression());
        measure(call, call.named.back().second);
      } else {
        adopt(call, expression());
      }
      if (!op(",") && !is(Type::kOperator, ")")) refuse("expected ',' or ')'");
    }
  }

  JinjaExpressionPtr postfix(JinjaExpressionPtr value) {
    for (int links = 0;; ++links) {
      if (links > kJinjaDepth) refuse("a longer chain of attributes");
      if (op(".")) {
        if (now().type == Type::kInteger) refuse("an index behind a dot");
        value = make(Kind::kAttribute, name(), std::move(value));
      } else if (op("(")) {
        value = make(Kind::kCall, "", std::move(value));
        arguments(*value);
      } else if (op("[")) {
        value = subscript(std::move(value));
      } else {
        return value;
      }
    }
  }

  JinjaExpressionPtr subscript(JinjaExpressionPtr value) {
    JinjaExpressionPtr bounds[3];
    size_t n = 0;
    bool slice = false;
    while (!op("]")) {
      if (op(":")) {
        slice = true;
        if (++n > 2) refuse("a slice of four parts");
      } else {
        if (bounds[n]) refuse("expected ']'");
        bounds[n] = expression();
      }
    }
    if (!slice && !bounds[0]) refuse("an empty index");
    if (!slice) return make(Kind::kItem, "", std::move(value), std::move(bounds[0]));
    auto out = make(Kind::kSlice, "", std::move(value));
    for (auto& bound : bounds) adopt(*out, std::move(bound));
    return out;
  }

  JinjaExpressionPtr literal(JinjaValue value) {
    auto out = make(Kind::kLiteral);
    out->value = std::move(value);
    return out;
  }

  JinjaExpressionPtr primary() {
    const Token token = now();
    if (token.type == Type::kString) {
      std::string text;
      while (now().type == Type::kString) text += take().text;
      return literal(std::move(text));
    }
    if (token.type == Type::kInteger) {
      int64_t number = 0;
      const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
      if (error != std::errc() || end != token.text.data() + token.text.size()) refuse("this number");
      ++at_;
      return literal(number);
    }
    if (token.type == Type::kFloat) {
      ++at_;
      return literal(std::stod(token.text));
    }
    if (token.type == Type::kName) {
      ++at_;
      if (token.text == "true" || token.text == "True") return literal(true);
      if (token.text == "false" || token.text == "False") return literal(false);
      if (token.text == "none" || token.text == "None") return literal(JinjaNone{});
      return make(Kind::kName, token.text);
    }
    if (op("(")) {
      auto value = expression();
      if (is(Type::kOperator, ",")) refuse("a tuple");
      expect(Type::kOperator, ")");
      return value;
    }
    if (op("[")) {
      auto list = make(Kind::kList);
      while (!op("]")) {
        adopt(*list, expression());
        if (!op(",") && !is(Type::kOperator, "]")) refuse("expected ',' or ']'");
      }
      return list;
    }
    if (op("{")) {
      auto dict = make(Kind::kDict);
      while (!op("}")) {
        adopt(*dict, expression());
        expect(Type::kOperator, ":");
        adopt(*dict, expression());
        if (!op(",") && !is(Type::kOperator, "}")) refuse("expected ',' or '}'");
      }
      return dict;
    }
    refuse(fmt::format("'{}' in an expression", printable(token.text)));
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

void jinja_fail(int line, const std::string& what) {
  fail(Status::kUnsupported, "chat template, line {}: {} is not supported", line, what);
}

std::vector<JinjaNode> parse_jinja(std::string_view source) {
  if (source.size() > (1u << 20)) fail(Status::kUnsupported, "chat template: {} bytes; limit 1 MiB", source.size());
  return Parser(lex_jinja(source)).run();
}

}  // namespace moiety::text
