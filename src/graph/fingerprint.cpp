#include "graph/fingerprint.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/hash.h"
#include "weights/expert_cache.h"

namespace moiety {
namespace {

// 64 bytes of the first, the middle and the last row. get(at, bytes) -> the bytes at an address.
template <class Get>
void add(Hash& hash, const Tensor& t, const Get& get) {
  hash.add(t.data != nullptr);
  if (!t) return;
  hash.add(t.dtype, t.rank);
  for (int i = 0; i < t.rank; ++i) hash.add(t.dim(i));
  if (t.rows() == 0) return;
  if (t.layout == Layout::kPanels) {
    hash.add(t.layout);
    const size_t panel = static_cast<size_t>(kPanelRows * t.row_bytes), last = t.bytes() / panel - 1;
    for (const size_t at : {size_t{0}, last / 2 * panel, last * panel}) hash.add(get(t.data + at, std::min<size_t>(panel, 64)));
    return;
  }
  const size_t bytes = dtype_bytes(t.dtype, t.cols()), sample = std::min<size_t>(bytes, 64);
  hash.add(get(t.row(0), sample));
  hash.add(get(t.row(t.rows() / 2) + (bytes - sample) / 2, sample));
  hash.add(get(t.row(t.rows() - 1) + bytes - sample, sample));
}

using Bytes = std::span<const std::byte>;
void add(Hash& hash, const Tensor& t) {
  add(hash, t, [](const std::byte* at, size_t bytes) { return Bytes(at, bytes); });
}

void add(Hash& hash, const ExpertBank& bank) {
  std::array<std::byte, 64> sample;
  for (int e = 0; e < bank.size(); ++e) {
    if (const ExpertCache* cache = bank.cache()) {  // sampled in the file: the mapping would bring whole experts in
      const auto read = [&](const std::byte* at, size_t bytes) {
        cache->read(at, std::span(sample).first(bytes));
        return Bytes(sample.data(), bytes);
      };
      for (const Tensor* t : cache->stored(bank, e).tensors()) add(hash, *t, read);
    } else {
      for (const Tensor* t : bank.expert(e).tensors()) add(hash, *t);
    }
  }
}

// A new op does not compile before it is listed here.
struct AddOp {
  Hash& hash;

  void operator()(const Embedding& op) const { add(hash, op.table), hash.add(op.scale); }
  void operator()(const RmsNorm& op) const { add(hash, op.weight), hash.add(op.eps, op.groups); }
  void operator()(const LayerNorm& op) const { add(hash, op.weight), add(hash, op.bias), hash.add(op.eps); }
  void operator()(const Linear& op) const { add(hash, op.weight), add(hash, op.bias); }
  void operator()(const Clamp& op) const { hash.add(op.limit); }
  void operator()(const Scale& op) const { hash.add(op.factor); }
  void operator()(const Add& op) const { hash.add(op.scale); }
  void operator()(const Act& op) const { hash.add(op.kind); }
  void operator()(const Glu& op) const { hash.add(op.kind, op.limit, op.alpha); }
  void operator()(const Rope& op) const {
    hash.add(op.heads, op.head_dim, op.interleaved, op.magnitude);
    hash.add(std::as_bytes(std::span(op.frequencies)));
  }
  void operator()(const AddSinusoid& op) const {
    hash.add(op.offset);
    hash.add(std::as_bytes(std::span(op.frequencies)));
  }
  void operator()(const KvStore& op) const { hash.add(op.layer); }
  void operator()(const Attention& op) const {
    hash.add(op.layer, op.heads, op.kv_heads, op.head_dim, op.scale, op.window, op.softcap);
    add(hash, op.sinks);
  }
  void operator()(const Route& op) const {
    hash.add(op.experts, op.top_k, op.score, op.selection, op.renormalise, op.weight_scale, op.groups, op.top_groups,
             op.group_best, op.noise, op.drop, op.capacity, op.capacity_factor, op.keep, op.pads_choose, op.seed, op.layer);
    add(hash, op.selection_bias);
  }
  void operator()(const Experts& op) const { add(hash, *op.bank), hash.add(op.kind, op.limit, op.alpha); }
  void operator()(const SelectRows&) const {}
};

}  // namespace

uint64_t fingerprint(const Graph& graph) {
  Hash hash;
  for (const Node& node : graph.nodes()) {
    hash.add(node.op.index());
    for (const Value& input : node.inputs) hash.add(input.node);
    std::visit(AddOp{hash}, node.op);
  }
  return hash.value();
}

}  // namespace moiety
