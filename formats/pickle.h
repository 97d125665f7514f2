// An inert pickle machine: a pickle (protocols 2 to 5, as PyTorch writes them) becomes a tree of values, and nothing is
// ever called, imported or built. A GLOBAL is a symbol, REDUCE and NEWOBJ are objects that remember symbol and arguments.
// Iterative; sizes, stack, memo and memory have limits. Strings are views into the pickle.
// Source: the comments of CPython's pickletools. Every error is Error(kFormat) and names subject, offset and opcode.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moiety {

enum class PickleKind : uint8_t {
  kNone, kBool, kInteger, kFloat, kString, kBytes, kTuple, kList, kDict, kSet,
  kBigInteger,  // beyond 64 bits: its bytes, little-endian two's complement
  kSymbol,      // a class or function by name
  kPersistent,  // a persistent id: one value
  kObject,      // symbol(arguments): REDUCE, NEWOBJ
};

class Pickle;

// A value of a Pickle, which must outlive it. Cheap to copy. A value may contain itself: never walk without a limit.
// An absent value answers as None does.
class PickleValue {
 public:
  PickleValue() = default;
  PickleValue(const Pickle* tree, uint32_t node) : tree_(tree), node_(node) {}

  explicit operator bool() const { return tree_ != nullptr; }  // false: absent
  bool operator==(const PickleValue&) const = default;
  PickleKind kind() const;
  bool is_none() const { return kind() == PickleKind::kNone; }

  std::optional<bool> boolean() const;                // empty for another kind
  std::optional<int64_t> integer() const;             // integers alone
  std::optional<double> number() const;               // integers, floats, booleans
  std::optional<std::string_view> text() const;       // strings
  std::optional<std::string_view> raw_bytes() const;  // bytes and big integers

  // Tuples, lists, sets, and objects that were appended to.
  size_t count() const;
  PickleValue at(size_t index) const;  // absent beyond the end; takes `index` steps
  template <class Visit>
  void each(const Visit& visit) const;  // visit(PickleValue)

  // A dict, an OrderedDict, or an object whose state is a dict (argparse.Namespace): its members in order. A key that
  // stands twice comes twice, and find() gives the last one.
  bool has_members() const;
  template <class Visit>
  void members(const Visit& visit) const;             // visit(PickleValue key, PickleValue value)
  PickleValue find(std::string_view key) const;       // absent if there is none; looks at all members

  std::string symbol() const;     // "collections.OrderedDict": of a symbol, or of an object; empty otherwise
  PickleValue arguments() const;  // of an object; of a persistent id: the id
  PickleValue state() const;      // what BUILD gave an object, or absent

  std::string where() const;  // "FILE @0xOFFSET", of the opcode that made it

 private:
  PickleValue dict() const;
  const Pickle* tree_ = nullptr;
  uint32_t node_ = 0;
};

struct PickleSource {
  std::span<const std::byte> bytes;  // must outlive the Pickle
  std::string subject;               // file, for errors
  uint64_t base = 0;                 // where the bytes begin in it
};

class Pickle {
 public:
  explicit Pickle(PickleSource source);  // parses up to STOP
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  PickleValue root() const { return {this, root_}; }
  size_t length() const { return length_; }  // bytes up to and with STOP
  // Every persistent id, in the order of the pickle.
  size_t persistent_count() const { return persistent_.size(); }
  PickleValue persistent(size_t index) const { return {this, persistent_[index]}; }

 private:
  friend class PickleValue;
  friend class PickleMachine;
  struct Node {
    PickleKind kind = PickleKind::kNone;
    uint32_t offset = 0;       // of the opcode
    uint32_t a = 0, b = 0;     // object: callable, arguments; persistent: id; symbol: module, name (strings)
    uint32_t state = kNoNode;  // object
    uint32_t first = kNoNode, last = kNoNode, count = 0;  // items: of lists and the like, of dicts key, value, key, ...
    union {
      int64_t integer = 0;
      double number;
      const char* text;
    };
    uint32_t size = 0;  // of the text
  };
  struct Item {
    uint32_t node, next;
  };
  static constexpr uint32_t kNoNode = UINT32_MAX;

  const Node& node(uint32_t id) const { return nodes_[id]; }

  PickleSource source_;
  std::deque<Node> nodes_;
  std::deque<Item> items_;
  std::vector<uint32_t> persistent_;
  uint32_t root_ = 0;
  size_t length_ = 0;
};

template <class Visit>
void PickleValue::members(const Visit& visit) const {
  const PickleValue owner = dict();
  if (!owner) return;
  const auto& items = tree_->items_;
  for (uint32_t i = tree_->node(owner.node_).first; i != Pickle::kNoNode;) {
    const uint32_t value = items[i].next;  // pairs are added together
    visit(PickleValue(tree_, items[i].node), PickleValue(tree_, items[value].node));
    i = items[value].next;
  }
}

template <class Visit>
void PickleValue::each(const Visit& visit) const {
  if (!tree_) return;
  for (uint32_t i = tree_->node(node_).first; i != Pickle::kNoNode; i = tree_->items_[i].next) {
    visit(PickleValue(tree_, tree_->items_[i].node));
  }
}

}  // namespace moiety
