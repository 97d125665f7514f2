#include "formats/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace moiety {

namespace {

constexpr size_t kMaxPickle = size_t{256} << 20;
constexpr size_t kMaxStack = 1'000'000, kMaxMemo = 10'000'000;
constexpr size_t kSpareMemory = size_t{48} << 20;  // of the tree, on top of twice the pickle
constexpr size_t kMaxSymbol = 1024;

}  // namespace

// One pass over the opcodes. The stack holds node ids; marks are remembered apart.
class PickleMachine {
 public:
  explicit PickleMachine(Pickle& tree)
      : tree_(tree), bytes_(tree.source_.bytes), budget_(kSpareMemory + 2 * bytes_.size()) {}

  void run() {
    if (bytes_.size() > kMaxPickle) error("it has {} bytes, limit {}", bytes_.size(), kMaxPickle);
    for (;;) {
      opcode_ = at_;
      const auto op = take<uint8_t>();
      if (op == '.') break;
      if (!constant(op) && !text(op) && !container(op) && !stack(op) && !memo(op) && !object(op))
        error("opcode {:#04x} is not supported", op);
    }
    tree_.root_ = pop();
    tree_.length_ = at_;
  }

 private:
  using Node = Pickle::Node;
  using Kind = PickleKind;
  static constexpr uint32_t kNoNode = Pickle::kNoNode;

  template <class... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    fail(Status::kFormat, "{} @{:#x}: pickle: {}", tree_.source_.subject, tree_.source_.base + opcode_,
         fmt::format(format, std::forward<Args>(args)...));
  }

  // --- bytes
  std::string_view take_bytes(uint64_t count) {
    if (count > bytes_.size() - at_) error("it ends within opcode {:#04x}", std::to_integer<int>(bytes_[opcode_]));
    const char* data = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += count;
    return {data, count};
  }
  template <class T>
  T take() {
    if (sizeof(T) > bytes_.size() - at_) error("it ends before STOP");
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view take_line() {
    const auto rest = bytes_.subspan(at_, std::min<size_t>(bytes_.size() - at_, kMaxSymbol + 1));
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    if (end == rest.end()) error("a symbol's name has no end, or more than {} bytes", kMaxSymbol);
    const std::string_view line = take_bytes(static_cast<size_t>(end - rest.begin()));
    ++at_;
    return line;
  }

  // --- memory
  void charge(size_t bytes) {
    if (bytes > budget_) error("it needs more than {} bytes of memory", kSpareMemory + 2 * bytes_.size());
    budget_ -= bytes;
  }
  uint32_t make(Kind kind) {
    charge(sizeof(Node));
    Node node;
    node.kind = kind;
    node.offset = static_cast<uint32_t>(opcode_);
    tree_.nodes_.push_back(node);
    return static_cast<uint32_t>(tree_.nodes_.size() - 1);
  }
  Node& node(uint32_t id) { return tree_.nodes_[id]; }
  void add_item(uint32_t owner, uint32_t item) {
    charge(sizeof(Pickle::Item));
    const auto id = static_cast<uint32_t>(tree_.items_.size());
    tree_.items_.push_back({item, kNoNode});
    Node& to = node(owner);
    if (to.last == kNoNode) to.first = id;
    else tree_.items_[to.last].next = id;
    to.last = id;
    ++to.count;
  }

  // --- stack
  void push(uint32_t id) {
    if (stack_.size() + marks_.size() >= kMaxStack) error("its stack is deeper than {}", kMaxStack);
    stack_.push_back(id);
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  uint32_t top() const {
    if (stack_.size() <= floor()) error("its stack is empty");
    return stack_.back();
  }
  uint32_t pop() {
    const uint32_t id = top();
    stack_.pop_back();
    return id;
  }
  // Where on the stack the last mark stands, which goes; or the last `count` values begin.
  size_t since_mark() {
    if (marks_.empty()) error("a MARK is missing");
    const size_t first = marks_.back();
    marks_.pop_back();
    return first;
  }
  size_t last(size_t count) const {
    if (count > stack_.size() - floor()) error("its stack is empty");
    return stack_.size() - count;
  }
  // Moves what stands on the stack from `first` on to the items of `owner`.
  void add_items(uint32_t owner, size_t first) {
    for (size_t i = first; i < stack_.size(); ++i) add_item(owner, stack_[i]);
    stack_.resize(first);
  }

  // --- opcodes, by kind
  bool push_integer(int64_t value) {
    const uint32_t id = make(Kind::kInteger);
    node(id).integer = value;
    push(id);
    return true;
  }
  bool push_text(Kind kind, std::string_view text) {
    const uint32_t id = make(kind);
    node(id).text = text.data();
    node(id).size = static_cast<uint32_t>(text.size());
    push(id);
    return true;
  }
  bool push_long(uint64_t size) {
    const std::string_view digits = take_bytes(size);
    if (size > 8) return push_text(Kind::kBigInteger, digits);
    uint64_t value = size > 0 && (digits.back() & 0x80) ? UINT64_MAX : 0;
    std::memcpy(&value, digits.data(), size);
    return push_integer(static_cast<int64_t>(value));
  }

  bool constant(uint8_t op) {
    switch (op) {
      case 0x80:  // PROTO
        if (const auto protocol = take<uint8_t>(); protocol < 2 || protocol > 5)
          error("protocol {} is not supported (2 to 5 are)", protocol);
        return true;
      case 0x95: return take<uint64_t>(), true;  // FRAME: only a hint for buffers
      case 'N': return push(make(Kind::kNone)), true;
      case 0x88:
      case 0x89: {
        const uint32_t id = make(Kind::kBool);
        node(id).integer = op == 0x88;
        return push(id), true;
      }
      case 'J': return push_integer(take<int32_t>());
      case 'K': return push_integer(take<uint8_t>());
      case 'M': return push_integer(take<uint16_t>());
      case 0x8a: return push_long(take<uint8_t>());
      case 0x8b: {
        const auto size = take<int32_t>();
        if (size < 0) error("an integer has the length {}", size);
        return push_long(static_cast<uint64_t>(size));
      }
      case 'G': {
        const uint32_t id = make(Kind::kFloat);
        node(id).number = std::bit_cast<double>(__builtin_bswap64(take<uint64_t>()));
        return push(id), true;
      }
      default: return false;
    }
  }

  bool text(uint8_t op) {
    switch (op) {
      case 'X': return push_text(Kind::kString, take_bytes(take<uint32_t>()));
      case 0x8c: return push_text(Kind::kString, take_bytes(take<uint8_t>()));
      case 0x8d: return push_text(Kind::kString, take_bytes(take<uint64_t>()));
      case 'T': return push_text(Kind::kString, take_bytes(take<uint32_t>()));  // BINSTRING, of Python 2
      case 'U': return push_text(Kind::kString, take_bytes(take<uint8_t>()));
      case 'B': return push_text(Kind::kBytes, take_bytes(take<uint32_t>()));
      case 'C': return push_text(Kind::kBytes, take_bytes(take<uint8_t>()));
      case 0x8e:
      case 0x96: return push_text(Kind::kBytes, take_bytes(take<uint64_t>()));
      default: return false;
    }
  }

  bool push_group(Kind kind, size_t first) {
    if (kind == Kind::kDict && (stack_.size() - first) % 2 != 0) error("a key has no value");
    const uint32_t id = make(kind);
    add_items(id, first);
    push(id);
    return true;
  }

  bool container(uint8_t op) {
    switch (op) {
      case ')': return push_group(Kind::kTuple, last(0));
      case ']': return push_group(Kind::kList, last(0));
      case '}': return push_group(Kind::kDict, last(0));
      case 0x8f: return push_group(Kind::kSet, last(0));
      case 't': return push_group(Kind::kTuple, since_mark());
      case 'l': return push_group(Kind::kList, since_mark());
      case 'd': return push_group(Kind::kDict, since_mark());
      case 0x91: return push_group(Kind::kSet, since_mark());
      case 0x85: return push_group(Kind::kTuple, last(1));
      case 0x86: return push_group(Kind::kTuple, last(2));
      case 0x87: return push_group(Kind::kTuple, last(3));
      case 'a': return add_to(Kind::kList, last(1));
      case 'e': return add_to(Kind::kList, since_mark());
      case 's': return add_to(Kind::kDict, last(2));
      case 'u': return add_to(Kind::kDict, since_mark());
      case 0x90: return add_to(Kind::kSet, since_mark());
      default: return false;
    }
  }

  // Appends what stands from `first` on to what stands below: a container of that kind, or an object, which then keeps
  // to one kind.
  bool add_to(Kind kind, size_t first) {
    const bool pairs = kind == Kind::kDict;
    if (pairs && (stack_.size() - first) % 2 != 0) error("a key has no value");
    if (first <= floor()) error("its stack is empty");
    const uint32_t owner = stack_[first - 1];
    Node& to = node(owner);
    if (to.kind == Kind::kObject && (to.count == 0 || (to.integer == 1) == pairs)) to.integer = pairs;
    else if (to.kind != kind) error("items are added to what holds none");
    add_items(owner, first);
    return true;
  }

  bool stack(uint8_t op) {
    switch (op) {
      case '(':
        if (stack_.size() + marks_.size() >= kMaxStack) error("its stack is deeper than {}", kMaxStack);
        return marks_.push_back(stack_.size()), true;
      case '0':
        if (stack_.size() == floor() && !marks_.empty()) marks_.pop_back();
        else pop();
        return true;
      case '1': return stack_.resize(since_mark()), true;
      case '2': return push(top()), true;
      default: return false;
    }
  }

  bool put(uint64_t index) {
    if (index >= kMaxMemo) error("memo entry {}, limit {}", index, kMaxMemo);
    if (index >= memo_.size()) {
      charge((index + 1 - memo_.size()) * sizeof(uint32_t));
      memo_.resize(index + 1, kNoNode);
    }
    memo_[index] = top();
    return true;
  }
  bool get(uint64_t index) {
    if (index >= memo_.size() || memo_[index] == kNoNode) error("memo entry {} is not there", index);
    push(memo_[index]);
    return true;
  }
  bool memo(uint8_t op) {
    switch (op) {
      case 'q': return put(take<uint8_t>());
      case 'r': return put(take<uint32_t>());
      case 0x94: return put(memoized_++);
      case 'h': return get(take<uint8_t>());
      case 'j': return get(take<uint32_t>());
      default: return false;
    }
  }

  bool push_symbol(std::string_view module, std::string_view name) {
    push_text(Kind::kString, module);
    push_text(Kind::kString, name);
    return push_pair(Kind::kSymbol);
  }
  // Of the two on top: symbol and arguments, or module and name.
  bool push_pair(Kind kind) {
    const uint32_t b = pop(), a = pop();
    if (kind == Kind::kSymbol && (node(a).kind != Kind::kString || node(b).kind != Kind::kString ||
                                  node(a).size > kMaxSymbol || node(b).size > kMaxSymbol))
      error("a symbol's name is no string, or has more than {} bytes", kMaxSymbol);
    const uint32_t id = make(kind);
    node(id).a = a, node(id).b = b;
    push(id);
    return true;
  }

  bool object(uint8_t op) {
    switch (op) {
      case 'c': {
        const std::string_view module = take_line();
        return push_symbol(module, take_line());
      }
      case 0x93: return push_pair(Kind::kSymbol);
      case 'R':
      case 0x81: return push_pair(Kind::kObject);
      case 0x92: return pop(), push_pair(Kind::kObject);  // keyword arguments mean nothing here
      case 'b': {
        const uint32_t state = pop();
        Node& to = node(top());
        if (to.kind != Kind::kObject) error("BUILD of what is no object");
        to.state = state;
        return true;
      }
      case 'Q': {
        const uint32_t inner = pop(), id = make(Kind::kPersistent);
        node(id).a = inner;
        charge(sizeof(uint32_t));
        tree_.persistent_.push_back(id);
        return push(id), true;
      }
      default: return false;
    }
  }

  Pickle& tree_;
  std::span<const std::byte> bytes_;
  size_t at_ = 0, opcode_ = 0, budget_ = 0;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::deque<uint32_t> memo_;
  uint64_t memoized_ = 0;
};

Pickle::Pickle(PickleSource source) : source_(std::move(source)) { PickleMachine(*this).run(); }

PickleKind PickleValue::kind() const { return tree_ ? tree_->node(node_).kind : PickleKind::kNone; }

std::optional<bool> PickleValue::boolean() const {
  return kind() == PickleKind::kBool ? std::optional(tree_->node(node_).integer != 0) : std::nullopt;
}
std::optional<int64_t> PickleValue::integer() const {
  return kind() == PickleKind::kInteger ? std::optional(tree_->node(node_).integer) : std::nullopt;
}
std::optional<double> PickleValue::number() const {
  switch (kind()) {
    case PickleKind::kFloat: return tree_->node(node_).number;
    case PickleKind::kInteger:
    case PickleKind::kBool: return static_cast<double>(tree_->node(node_).integer);
    default: return std::nullopt;
  }
}
std::optional<std::string_view> PickleValue::text() const {
  if (kind() != PickleKind::kString) return std::nullopt;
  return std::string_view(tree_->node(node_).text, tree_->node(node_).size);
}
std::optional<std::string_view> PickleValue::raw_bytes() const {
  if (kind() != PickleKind::kBytes && kind() != PickleKind::kBigInteger) return std::nullopt;
  return std::string_view(tree_->node(node_).text, tree_->node(node_).size);
}

size_t PickleValue::count() const { return tree_ ? tree_->node(node_).count : 0; }

PickleValue PickleValue::at(size_t index) const {
  if (index >= count()) return {};
  uint32_t item = tree_->node(node_).first;
  for (size_t i = 0; i < index; ++i) item = tree_->items_[item].next;
  return {tree_, tree_->items_[item].node};
}

// The value that holds the members: itself, or an object's state.
PickleValue PickleValue::dict() const {
  if (kind() == PickleKind::kDict) return *this;
  if (kind() != PickleKind::kObject) return {};
  const Pickle::Node& node = tree_->node(node_);
  if (node.count > 0) return node.integer == 1 ? *this : PickleValue{};
  if (symbol() == "collections.OrderedDict") return *this;
  return state().kind() == PickleKind::kDict ? state() : PickleValue{};
}

bool PickleValue::has_members() const { return static_cast<bool>(dict()); }

PickleValue PickleValue::find(std::string_view key) const {
  PickleValue found;
  members([&](PickleValue name, PickleValue value) {
    if (name.text() == key) found = value;
  });
  return found;
}

std::string PickleValue::symbol() const {
  if (kind() != PickleKind::kObject && kind() != PickleKind::kSymbol) return {};
  const Pickle::Node* node = &tree_->node(node_);
  if (node->kind == PickleKind::kObject) node = &tree_->node(node->a);
  if (node->kind != PickleKind::kSymbol) return {};
  const Pickle::Node &module = tree_->node(node->a), &name = tree_->node(node->b);
  return std::string(module.text, module.size) + "." + std::string(name.text, name.size);
}

PickleValue PickleValue::arguments() const {
  switch (kind()) {
    case PickleKind::kObject: return {tree_, tree_->node(node_).b};
    case PickleKind::kPersistent: return {tree_, tree_->node(node_).a};
    default: return {};
  }
}

PickleValue PickleValue::state() const {
  if (kind() != PickleKind::kObject || tree_->node(node_).state == Pickle::kNoNode) return {};
  return {tree_, tree_->node(node_).state};
}

std::string PickleValue::where() const {
  if (!tree_) return "pickle";
  return fmt::format("{} @{:#x}", tree_->source_.subject, tree_->source_.base + tree_->node(node_).offset);
}

}  // namespace moiety
