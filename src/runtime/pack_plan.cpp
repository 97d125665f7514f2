#include "runtime/pack_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/panels.h"
#include "models/registry.h"

namespace moiety {
namespace {

// What becomes of a tensor.
PackItem item_of(std::string name, const Tensor& from, bool matrix) {
  PackItem item{std::move(name), from, from};
  if (matrix && from.rank == 2 && from.rows() >= kPanelRows && has_panels(from.dtype))
    item.to = make_panels(nullptr, from.dtype, from.rows(), from.cols());
  return item;
}

// The store's tensors by address, to find whose part a view is.
class Owners {
 public:
  explicit Owners(const WeightStore& store) {
    for (const std::string& name : store.names()) {
      const Tensor& t = store.find(name)->tensor;
      list_.push_back({t.data, t.bytes(), &name});
    }
    std::ranges::sort(list_, {}, &Owner::data);
  }
  const std::string& name_of(const Tensor& view) const {
    auto at = std::ranges::upper_bound(list_, view.data, {}, &Owner::data);
    if (at == list_.begin()) fail(Status::kInternal, "a view of no tensor");
    --at;
    if (view.data >= at->data + at->bytes) fail(Status::kInternal, "a view of no tensor");
    return *at->name;
  }

 private:
  struct Owner {
    const std::byte* data;
    size_t bytes;
    const std::string* name;
  };
  std::vector<Owner> list_;
};

class Lister {
 public:
  explicit Lister(const ModelSource& source) : source_(source), owners_(source.store) {
    Banks banks;
    const Graph graph = build_graph(source.config, source.store, source.config.context, banks);
    std::map<const std::byte*, int64_t> linear;  // rows
    std::set<const std::byte*> tables;
    for (const Node& node : graph.nodes()) {
      if (const auto* op = std::get_if<Linear>(&node.op)) linear[op->weight.data] = op->weight.rows();
      if (const auto* op = std::get_if<Embedding>(&node.op)) tables.insert(op->table.data);
      if (const auto* op = std::get_if<Experts>(&node.op)) add_bank(*op->bank);
    }
    std::vector<PackItem> experts = std::move(items);
    items.clear();
    for (const std::string& name : source.store.names()) {
      if (in_banks_.contains(name)) continue;
      const Weight& weight = *source.store.find(name);
      const std::byte* data = weight.tensor.data;
      const auto rows = linear.find(data);
      const bool whole = rows != linear.end() && rows->second == weight.tensor.rows();
      const bool own =
          source.format == "gguf" && !weight.file_name.empty();  // its configuration is read by these names
      items.push_back(item_of(own ? weight.file_name : name, weight.tensor, whole && !tables.contains(data)));
    }
    std::ranges::move(experts, std::back_inserter(items));
  }

  std::vector<PackItem> items;

 private:
  void add_bank(const ExpertBank& bank) {
    for (int e = 0; e < bank.size(); ++e) {
      const Expert& x = bank.expert(e);
      const bool fused = x.gate && owners_.name_of(x.gate) == owners_.name_of(x.up);
      const auto add = [&](const Tensor& t, const char* role, bool matrix) {
        if (t) items.push_back(item_of(name_of(t, e, fused, role), t, matrix));
      };
      add(x.gate, "gate_proj", true), add(x.up, "up_proj", true), add(x.down, "down_proj", true);
      add(x.gate_bias, "", false), add(x.up_bias, "", false), add(x.down_bias, "", false);
    }
  }

  std::string name_of(const Tensor& view, int expert, bool fused, const char* role) {
    const std::string& owner = owners_.name_of(view);
    in_banks_.insert(owner);
    const Tensor& whole = source_.store.find(owner)->tensor;
    if (whole.rank < 3) return owner;
    std::string name = owner.ends_with(".weight") ? owner.substr(0, owner.size() - 7) : owner;
    const size_t dot = name.rfind('.');
    std::string prefix = name.substr(0, dot == std::string::npos ? 0 : dot);
    const std::string last = name.substr(dot == std::string::npos ? 0 : dot + 1);
    if (!prefix.ends_with(".experts")) prefix += ".experts";
    return fmt::format("{}.{}.{}.weight", prefix, expert, fused ? role : last);
  }

  const ModelSource& source_;
  Owners owners_;
  std::set<std::string> in_banks_;
};

}  // namespace

std::vector<PackItem> packed_items(const ModelSource& source) { return std::move(Lister(source).items); }

}  // namespace moiety
