#include "core/error.h"
#include "graph/plan.h"
#include "weights/expert_cache.h"

namespace moiety {
namespace {

// Arenas from this size on are worth huge pages: those of small models would take memory that they don't touch.
constexpr size_t kHugeArena = size_t{32} << 20;

Operand operand_at(const Node& node, std::byte* memory, int64_t rows) {
  Operand operand;
  if (node.kind == Kind::kRows) operand.tensor = make_tensor(memory, DType::kF32, {rows, node.cols});
  if (node.kind == Kind::kRouting) {
    const Route& route = std::get<Route>(node.op);
    operand.routing = Routing::at(memory, rows, route.experts, route.top_k);
  }
  return operand;
}

}  // namespace

Executor::~Executor() {
  for (Arena& arena : arenas_) {
    if (arena.memory && arena.data) arena.memory->release(arena.data);
  }
}

size_t Executor::arena_bytes() const {
  size_t bytes = 0;
  for (const Arena& arena : arenas_) bytes += arena.size;
  return bytes;
}

// The start of each of the plan's arenas, made larger where it must be.
std::vector<std::byte*> Executor::arenas_of(const Plan& plan) {
  std::vector<std::byte*> starts;
  for (const Plan::Arena& wanted : plan.arenas()) {
    size_t i = 0;
    while (i < arenas_.size() && arenas_[i].memory != wanted.memory) ++i;
    if (i == arenas_.size()) arenas_.emplace_back().memory = wanted.memory;
    Arena& arena = arenas_[i];
    if (arena.size < wanted.bytes) {
      if (arena.memory) {
        if (arena.data) arena.memory->release(arena.data);
        arena.data = nullptr, arena.size = 0;
        arena.data = arena.memory->allocate(wanted.bytes);
      } else {
        arena.host = Buffer(wanted.bytes);
        if (wanted.bytes >= kHugeArena) advise_huge_pages(arena.host.data(), wanted.bytes);
        arena.data = arena.host.data();
      }
      arena.size = wanted.bytes;
    }
    starts.push_back(arena.data);
  }
  return starts;
}

// What lies elsewhere is shown as a copy, which then goes back.
void Executor::observe(const Observer& observer, const Plan& plan, size_t node, const Operand& output, int64_t rows) {
  const Node& observed = plan.graph().nodes()[node];
  Memory* memory = plan.arenas()[static_cast<size_t>(plan.nodes()[node].memory)].memory;
  const size_t bytes = value_bytes(observed, rows);
  if (!memory || bytes == 0) return observer(plan.graph(), static_cast<int32_t>(node), output);
  const Buffer copy(bytes);
  std::byte* device =
      observed.kind == Kind::kRows ? output.tensor.data : reinterpret_cast<std::byte*>(output.routing.offsets);
  memory->download(copy.data(), device, bytes);
  observer(plan.graph(), static_cast<int32_t>(node), operand_at(observed, copy.data(), rows));
  memory->upload(device, copy.data(), bytes);
}

// Runs experts as many at a time as their cache holds. routing: the call's, replaced by that of each part.
void Executor::run_in_parts(const Kernel& kernel, KernelCall& call, const ExpertBank& bank, Operand& routing,
                            const CancelToken* cancel) {
  const Routing all = routing.routing;
  const auto slots = static_cast<size_t>(bank.cache()->slots());
  part_.offsets.resize(static_cast<size_t>(all.experts) + 1);
  for (int32_t e = 0; call.first || e < all.experts;) {
    if (cancel && cancel->cancelled()) fail(Status::kCancelled, "cancelled among the experts of {}", bank.name());
    part_.experts.clear();
    const int32_t begin = all.offsets[e];
    for (int32_t i = 0; i <= e; ++i) part_.offsets[static_cast<size_t>(i)] = 0;
    for (; e < all.experts; ++e) {
      if (all.offsets[e] < all.offsets[e + 1]) {
        if (part_.experts.size() == slots) break;
        part_.experts.push_back(e);
      }
      part_.offsets[static_cast<size_t>(e) + 1] = all.offsets[e + 1] - begin;
    }
    for (int32_t i = e + 1; i <= all.experts; ++i) part_.offsets[static_cast<size_t>(i)] = all.offsets[e] - begin;
    bank.cache()->acquire(bank, part_.experts, threads_);
    routing.routing = {all.experts, all.top_k, part_.offsets.data(), all.row + begin, all.slot + begin, all.weight + begin};
    call.last = e == all.experts;
    kernel.run(call);
    call.first = false;
  }
}

Tensor Executor::run(const Plan& plan, Batch& batch, const CancelToken* cancel, const Observer* observer) {
  if (batch.tokens() > plan.options().max_rows) {
    fail(Status::kInternal, "a step of {} rows in a plan for {}", batch.tokens(), plan.options().max_rows);
  }
  const std::vector<std::byte*> arenas = arenas_of(plan);
  struct Together {  // until the step's end
    explicit Together(Threads& threads) : threads(threads) { threads.enter(); }
    ~Together() { threads.leave(); }
    Threads& threads;
  } const together(threads_);
  batch.status.assign(batch.ids.size(), RowStatus{});

  const Graph& graph = plan.graph();
  const auto& nodes = graph.nodes();
  const auto rows_of = [&](const Node& node) { return batch.rows(node.extent == Extent::kWanted); };
  const auto transfer = [&](const Transfer& t) {
    const Node& node = nodes[static_cast<size_t>(t.node)];
    const auto from = static_cast<size_t>(t.from), to = static_cast<size_t>(t.to);
    const size_t bytes = value_bytes(node, rows_of(node));
    std::byte *source = arenas[from] + t.from_offset, *target = arenas[to] + t.to_offset;
    if (Memory* device = plan.arenas()[to].memory)
      device->upload(target, source, bytes);
    else
      plan.arenas()[from].memory->download(target, source, bytes);
  };
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (cancel && cancel->cancelled()) fail(Status::kCancelled, "cancelled at node {}", nodes[i].name);
    const Node& node = nodes[i];
    const PlannedNode& planned = plan.nodes()[i];
    for (const Transfer& t : planned.transfers) transfer(t);
    const auto memory = static_cast<size_t>(planned.memory);
    Operand inputs[3];
    for (size_t j = 0; j < static_cast<size_t>(node.input_count()); ++j) {
      const Node& source = graph.node(node.inputs[j]);
      inputs[j] = operand_at(source, arenas[memory] + planned.input_offsets[j], rows_of(source));
    }
    KernelCall call;
    call.batch = &batch;
    call.inputs = inputs;
    call.output = operand_at(node, arenas[memory] + planned.offset, rows_of(node));
    call.scratch = arenas[memory] + plan.arenas()[memory].scratch_offset;
    call.threads = &threads_;
    call.node = static_cast<int32_t>(i);
    const Experts* experts = std::get_if<Experts>(&node.op);
    if (experts && experts->bank->cache()) run_in_parts(*planned.kernel, call, *experts->bank, inputs[1], cancel);
    else planned.kernel->run(call);
    if (observer) observe(*observer, plan, i, call.output, rows_of(node));
  }
  for (const Transfer& t : plan.last_transfers()) transfer(t);
  if (!graph.output) return {};
  const Node& logits = graph.node(graph.output);
  return operand_at(logits, arenas[0] + plan.logits_offset(), rows_of(logits)).tensor;
}

}  // namespace moiety
