#include "text/jinja.h"

#include <algorithm>

#include "core/error.h"
#include "text/jinja_program.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

using Kind = JinjaExpression::Kind;

constexpr int64_t kSteps = 1'000'000;
constexpr size_t kOutput = size_t{16} << 20;
constexpr size_t kString = size_t{4} << 20;  // of one value, so that doubling in a loop ends

enum class Flow { kNormal, kBreak, kContinue };

class Renderer {
 public:
  explicit Renderer(const JinjaDict& variables) : scopes_{variables} {}

  std::string run(const std::vector<JinjaNode>& nodes) {
    std::string out;
    if (nodes_(nodes, out) != Flow::kNormal) jinja_fail(0, "break or continue outside a loop");
    return out;
  }

 private:
  void step(int line) {
    if (++steps_ > kSteps) jinja_fail(line, fmt::format("more than {} steps", kSteps));
  }

  void write(std::string& out, const std::string& text, int line) {
    if (out.size() + text.size() > kOutput) jinja_fail(line, fmt::format("more than {} bytes of output", kOutput));
    out += text;
  }

  Flow nodes_(const std::vector<JinjaNode>& nodes, std::string& out) {
    for (const auto& node : nodes) {
      step(node.line);
      Flow flow = Flow::kNormal;
      switch (node.kind) {
        case JinjaNode::Kind::kText: write(out, node.text, node.line); break;
        case JinjaNode::Kind::kOutput: write(out, jinja_text(value(*node.expression), node.line), node.line); break;
        case JinjaNode::Kind::kIf: flow = branch(node, out); break;
        case JinjaNode::Kind::kFor: flow = loop(node, out); break;
        case JinjaNode::Kind::kSet: assign(node, value(*node.expression)); break;
        case JinjaNode::Kind::kSetBlock: {
          std::string inside;
          flow = nodes_(node.body, inside);
          assign(node, std::move(inside));
          break;
        }
        case JinjaNode::Kind::kBreak: return Flow::kBreak;
        case JinjaNode::Kind::kContinue: return Flow::kContinue;
      }
      if (flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
  }

  Flow branch(const JinjaNode& node, std::string& out) {
    for (const auto& [condition, body] : node.branches) {
      if (!condition || jinja_truth(value(*condition))) return nodes_(body, out);
    }
    return Flow::kNormal;
  }

  void bind(const JinjaNode& node, const JinjaValue& item) {
    if (node.targets.size() == 1) {
      define(node.targets[0], item);
      return;
    }
    const auto* list = std::get_if<std::shared_ptr<JinjaList>>(&item.v);
    if (list == nullptr || (*list)->size() != node.targets.size()) jinja_fail(node.line, "unpacking this value");
    for (size_t i = 0; i < node.targets.size(); ++i) define(node.targets[i], (**list)[i]);
  }

  Flow loop(const JinjaNode& node, std::string& out) {
    JinjaList items = jinja_items(value(*node.expression), node.line);
    scopes_.emplace_back();
    if (node.condition) {
      std::erase_if(items, [&](const JinjaValue& item) {
        step(node.line);
        bind(node, item);
        return !jinja_truth(value(*node.condition));
      });
    }
    const auto n = static_cast<int64_t>(items.size());
    for (int64_t i = 0; i < n; ++i) {
      step(node.line);
      scopes_.back().clear();  // what an iteration sets is gone in the next
      bind(node, items[static_cast<size_t>(i)]);
      JinjaDict info{{"index", i + 1}, {"index0", i}, {"revindex", n - i}, {"revindex0", n - i - 1},
                     {"first", i == 0}, {"last", i + 1 == n}, {"length", n}};
      if (i > 0) info.emplace_back("previtem", items[static_cast<size_t>(i - 1)]);
      if (i + 1 < n) info.emplace_back("nextitem", items[static_cast<size_t>(i + 1)]);
      define("loop", std::make_shared<JinjaDict>(std::move(info)));
      const Flow flow = nodes_(node.body, out);
      if (flow == Flow::kBreak) break;
    }
    scopes_.pop_back();
    return n == 0 ? nodes_(node.otherwise, out) : Flow::kNormal;
  }

  void define(const std::string& name, JinjaValue item) {
    for (auto& [known, old] : scopes_.back()) {
      if (known != name) continue;
      old = std::move(item);
      return;
    }
    scopes_.back().emplace_back(name, std::move(item));
  }

  void assign(const JinjaNode& node, JinjaValue item) {
    const std::string& target = node.targets[0];
    const size_t dot = target.find('.');
    if (dot == std::string::npos) return define(target, std::move(item));
    const JinjaValue space = lookup(target.substr(0, dot));
    const auto* dict = std::get_if<std::shared_ptr<JinjaDict>>(&space.v);
    const bool is_namespace = dict && std::find(namespaces_.begin(), namespaces_.end(), dict->get()) != namespaces_.end();
    if (!is_namespace) jinja_fail(node.line, fmt::format("setting a member of '{}'", printable(target.substr(0, dot))));
    // A namespace inside itself would never be freed.
    if (holds_namespace(item)) jinja_fail(node.line, "a namespace as a value");
    const std::string key = target.substr(dot + 1);
    for (auto& [known, old] : **dict) {
      if (known != key) continue;
      old = std::move(item);
      return;
    }
    (*dict)->emplace_back(key, std::move(item));
  }

  bool holds_namespace(const JinjaValue& item) const {
    const auto* dict = std::get_if<std::shared_ptr<JinjaDict>>(&item.v);
    if (dict && std::find(namespaces_.begin(), namespaces_.end(), dict->get()) != namespaces_.end()) return true;
    if (const auto* list = std::get_if<std::shared_ptr<JinjaList>>(&item.v)) {
      return !namespaces_.empty() && std::any_of((*list)->begin(), (*list)->end(), [&](const JinjaValue& v) { return holds_namespace(v); });
    }
    return dict && !namespaces_.empty() && std::any_of((*dict)->begin(), (*dict)->end(), [&](const auto& m) { return holds_namespace(m.second); });
  }

  JinjaValue lookup(const std::string& name) const {
    for (size_t i = scopes_.size(); i-- > 0;) {
      for (const auto& [known, item] : scopes_[i]) {
        if (known == name) return item;
      }
    }
    for (const char* function : {"range", "namespace", "raise_exception", "dict"}) {
      if (name == function) return JinjaFunction{name, nullptr};
    }
    return JinjaUndefined{name};
  }

  // Work counts by its size: a million steps on strings of megabytes would take hours.
  void charge(size_t units, int line) {
    steps_ += static_cast<int64_t>(units);
    if (units > 0) step(line);
  }

  JinjaValue value(const JinjaExpression& e) {
    step(e.line);
    JinjaValue result = evaluate(e);
    if (const auto* text = std::get_if<std::string>(&result.v)) charge(text->size() / 64, e.line);
    if (const auto* list = std::get_if<std::shared_ptr<JinjaList>>(&result.v)) charge((*list)->size() / 8, e.line);
    return result;
  }

  JinjaValue evaluate(const JinjaExpression& e) {
    switch (e.kind) {
      case Kind::kLiteral: return e.value;
      case Kind::kName: return lookup(e.name);
      case Kind::kList: {
        auto list = std::make_shared<JinjaList>();
        for (const auto& part : e.parts) list->push_back(value(*part));
        return list;
      }
      case Kind::kDict: return dict(e);
      case Kind::kAttribute: return jinja_attribute(value(*e.parts[0]), e.name, e.line);
      case Kind::kItem: return jinja_item(value(*e.parts[0]), value(*e.parts[1]), e.line);
      case Kind::kSlice: return slice(e);
      case Kind::kCall: return call(e);
      case Kind::kFilter: return jinja_filter(e.name, value(*e.parts[0]), arguments(e, 1));
      case Kind::kTest: return jinja_test(e.name, value(*e.parts[0]), arguments(e, 1)) != e.negated;
      case Kind::kNot: return !jinja_truth(value(*e.parts[0]));
      case Kind::kNegate: {
        const JinjaValue number = value(*e.parts[0]);
        if (const auto* integer = std::get_if<int64_t>(&number.v)) return static_cast<int64_t>(0 - static_cast<uint64_t>(*integer));
        jinja_fail(e.line, "the negative of " + jinja_type(number));
      }
      case Kind::kAnd: {
        JinjaValue left = value(*e.parts[0]);
        return jinja_truth(left) ? value(*e.parts[1]) : left;
      }
      case Kind::kOr: {
        JinjaValue left = value(*e.parts[0]);
        return jinja_truth(left) ? left : value(*e.parts[1]);
      }
      case Kind::kIfElse:
        if (jinja_truth(value(*e.parts[0]))) return value(*e.parts[1]);
        return e.parts[2] ? value(*e.parts[2]) : JinjaValue{};
      case Kind::kBinary: return binary(e);
    }
    jinja_fail(e.line, "this expression");
  }

  JinjaValue dict(const JinjaExpression& e) {
    auto out = std::make_shared<JinjaDict>();
    for (size_t i = 0; i < e.parts.size(); i += 2) {
      const JinjaValue key = value(*e.parts[i]);
      const auto* name = std::get_if<std::string>(&key.v);
      if (name == nullptr) jinja_fail(e.line, "a key that is no string");
      out->emplace_back(*name, value(*e.parts[i + 1]));
    }
    return out;
  }

  JinjaArguments arguments(const JinjaExpression& e, size_t from) {
    JinjaArguments out;
    out.line = e.line;
    for (size_t i = from; i < e.parts.size(); ++i) out.plain.push_back(value(*e.parts[i]));
    for (const auto& [name, part] : e.named) out.named.emplace_back(name, value(*part));
    return out;
  }

  JinjaValue call(const JinjaExpression& e) {
    const JinjaValue callee = value(*e.parts[0]);
    const auto* function = std::get_if<JinjaFunction>(&callee.v);
    if (function == nullptr) {
      const auto* missing = std::get_if<JinjaUndefined>(&callee.v);
      if (missing && missing->name == "strftime_now") {
        jinja_fail(e.line, "the function 'strftime_now' (today's date, mostly for a system prompt: give your own instead)");
      }
      jinja_fail(e.line, missing ? fmt::format("the function '{}'", printable(missing->name)) : "calling " + jinja_type(callee));
    }
    const JinjaArguments given = arguments(e, 1);
    if (function->self == nullptr && function->name == "namespace") {
      if (!given.plain.empty()) jinja_fail(e.line, "namespace() of a value");
      for (const auto& member : given.named) {
        if (holds_namespace(member.second)) jinja_fail(e.line, "a namespace as a value");
      }
      auto space = std::make_shared<JinjaDict>(given.named);
      namespaces_.push_back(space.get());
      kept_.push_back(space);
      return space;
    }
    return checked(jinja_call(*function, given), e.line);
  }

  JinjaValue slice(const JinjaExpression& e) {
    const JinjaValue whole = value(*e.parts[0]);
    int64_t bounds[3] = {0, 0, 1};
    bool given[3] = {};
    for (size_t i = 0; i < 3; ++i) {
      if (!e.parts[i + 1]) continue;
      const JinjaValue bound = value(*e.parts[i + 1]);
      const auto* number = std::get_if<int64_t>(&bound.v);
      if (number == nullptr) jinja_fail(e.line, "a slice bound that is no integer");
      bounds[i] = *number;
      given[i] = true;
    }
    if (bounds[2] != 1 && bounds[2] != -1) jinja_fail(e.line, "a slice step that is not 1 or -1");
    JinjaList items;
    const auto* text = std::get_if<std::string>(&whole.v);
    const auto* list = std::get_if<std::shared_ptr<JinjaList>>(&whole.v);
    if (text != nullptr) {
      charge(text->size() / 4, e.line);  // a value for each character
      for (size_t at = 0; at < text->size(); at += decode_char(*text, at).bytes) items.push_back(text->substr(at, decode_char(*text, at).bytes));
    } else if (list != nullptr) {
      items = **list;
    } else {
      jinja_fail(e.line, "a slice of " + jinja_type(whole));
    }
    const auto n = static_cast<int64_t>(items.size());
    const bool back = bounds[2] < 0;
    auto clamp = [&](int64_t at) { return std::clamp(at < 0 ? at + n : at, back ? int64_t{-1} : int64_t{0}, back ? n - 1 : n); };
    const int64_t begin = given[0] ? clamp(bounds[0]) : (back ? n - 1 : 0);
    const int64_t end = given[1] ? clamp(bounds[1]) : (back ? -1 : n);
    auto out = std::make_shared<JinjaList>();
    for (int64_t i = begin; back ? i > end : i < end; i += bounds[2]) out->push_back(items[static_cast<size_t>(i)]);
    if (text == nullptr) return out;
    std::string joined;
    for (const auto& item : *out) joined += std::get<std::string>(item.v);
    return joined;
  }

  JinjaValue checked(JinjaValue result, int line) {
    const auto* text = std::get_if<std::string>(&result.v);
    if (text != nullptr && text->size() > kString) jinja_fail(line, fmt::format("a string of more than {} bytes", kString));
    return result;
  }

  JinjaValue binary(const JinjaExpression& e) {
    const JinjaValue a = value(*e.parts[0]), b = value(*e.parts[1]);
    const std::string& which = e.name;
    if (which == "==") return jinja_equal(a, b);
    if (which == "!=") return !jinja_equal(a, b);
    if (which == "~") return checked(jinja_text(a, e.line) + jinja_text(b, e.line), e.line);
    if (which == "in" || which == "not in") {
      JinjaArguments container;
      container.plain.push_back(b);
      container.line = e.line;
      return jinja_test("in", a, container) == (which == "in");
    }
    const auto* x = std::get_if<int64_t>(&a.v);
    const auto* y = std::get_if<int64_t>(&b.v);
    if (x && y) return arithmetic(which, *x, *y, e.line);
    const auto* s = std::get_if<std::string>(&a.v);
    const auto* t = std::get_if<std::string>(&b.v);
    if (s && t) {
      if (which == "+") return checked(*s + *t, e.line);
      if (which == "<") return *s < *t;
      if (which == ">") return *s > *t;
      if (which == "<=") return *s <= *t;
      if (which == ">=") return *s >= *t;
    }
    const auto* l = std::get_if<std::shared_ptr<JinjaList>>(&a.v);
    const auto* m = std::get_if<std::shared_ptr<JinjaList>>(&b.v);
    if (l && m && which == "+") {
      steps_ += static_cast<int64_t>((*l)->size() + (*m)->size());
      step(e.line);
      auto sum = std::make_shared<JinjaList>(**l);
      sum->insert(sum->end(), (*m)->begin(), (*m)->end());
      return sum;
    }
    jinja_fail(e.line, fmt::format("{} {} {}", jinja_type(a), which, jinja_type(b)));
  }

  JinjaValue arithmetic(const std::string& which, int64_t x, int64_t y, int line) {
    int64_t out = 0;
    bool overflow = false;
    if (which == "+") overflow = __builtin_add_overflow(x, y, &out);
    else if (which == "-") overflow = __builtin_sub_overflow(x, y, &out);
    else if (which == "*") overflow = __builtin_mul_overflow(x, y, &out);
    else if (which == "<") return x < y;
    else if (which == ">") return x > y;
    else if (which == "<=") return x <= y;
    else if (which == ">=") return x >= y;
    else if ((which == "//" || which == "%") && y != 0 && !(x == INT64_MIN && y == -1)) {
      const int64_t quotient = x / y - ((x % y != 0 && (x < 0) != (y < 0)) ? 1 : 0);  // towards minus infinity
      return which == "//" ? quotient : x - quotient * y;
    } else {
      jinja_fail(line, fmt::format("{} {} {}", x, which, y));
    }
    if (overflow) jinja_fail(line, "an integer of more than 64 bits");
    return out;
  }

  std::vector<JinjaDict> scopes_;
  std::vector<const JinjaDict*> namespaces_;
  std::vector<std::shared_ptr<JinjaDict>> kept_;
  int64_t steps_ = 0;
};

}  // namespace

JinjaTemplate::JinjaTemplate(std::string_view source) : program_(new Program{parse_jinja(source)}) {}
JinjaTemplate::~JinjaTemplate() = default;
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;

std::string JinjaTemplate::render(const JinjaDict& variables) const { return Renderer(variables).run(program_->nodes); }

}  // namespace moiety::text
