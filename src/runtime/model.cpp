#include "runtime/model.h"

#include <algorithm>

#include "core/cpu_info.h"
#include "core/error.h"
#include "formats/output_file.h"
#include "graph/cost.h"
#include "graph/gating.h"
#include "runtime/tune_file.h"

namespace moiety {
namespace {

DType cache_type(std::optional<DType> asked, ActivationPrecision activations, const char* name) {
  const DType type = asked.value_or(activations == ActivationPrecision::kF32 ? DType::kF32 : DType::kF16);
  if (type != DType::kF32 && type != DType::kF16) {
    fail(Status::kUnsupported, "{}: {} is not supported (f32, f16)", name, dtype_info(type).name);
  }
  return type;
}

// LongRoPE has one set of frequencies for texts up to the original context and another beyond it. A cache can't change
// from one to the other, so without a wish for more the context is the original one.
int default_context(const Config& c, std::vector<std::string>& warnings) {
  const int64_t original = c.rope.original_context;
  if (c.rope.kind != RopeKind::kLongRope || original <= 0 || original >= c.context) return c.context;
  warnings.push_back(
      fmt::format("context is {}: a longer one, up to {}, takes the model's long rope factors", original, c.context));
  return static_cast<int>(original);
}

void poll(const ModelOptions& options, float done) {
  if (options.cancel && options.cancel->cancelled()) fail(Status::kCancelled, "loading was cancelled");
  if (options.progress && !options.progress(done)) fail(Status::kCancelled, "loading was cancelled");
}

constexpr double kTuneSeconds = 0.06;  // and what the kernel that is being measured then needs

std::string megabytes(size_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

Model::Model(ModelSource source, std::vector<std::unique_ptr<Backend>> backends, const ModelOptions& options)
    : source_(std::move(source)), backends_(std::move(backends)) {
  const Config& c = source_.config;
  check_config(c, source_.name);
  if (options.context < 0) fail(Status::kInvalidArgument, "context is {}, expected 0 or more", options.context);
  if (options.max_rows < 1 || options.max_rows > (1 << 20)) {
    fail(Status::kInvalidArgument, "rows of a step are {}, expected 1 to {}", options.max_rows, 1 << 20);
  }
  context_ = options.context > 0 ? options.context : default_context(c, source_.warnings);
  if (context_ > c.context) {
    source_.warnings.push_back(
        fmt::format("context {} is longer than the {} that the model was made for", context_, c.context));
  }
  plan_options_.activations = options.activations;
  plan_options_.key_type = cache_type(options.key_type, options.activations, "key cache type");
  plan_options_.value_type = cache_type(options.value_type, options.activations, "value cache type");
  threads_ = make_threads(options.thread_pool, options.threads);
  poll(options, 0.5f);
  graph_ = build_graph(c, source_.store, context_, banks_, options.gate);
  for (const Node& node : graph_.nodes()) {
    const Route* route = std::get_if<Route>(&node.op);
    whole_groups_ |= route && needs_whole_groups(*route);
  }
  // A gating group is one step, and may be several sequences that together are longer than a context.
  max_rows_ = whole_groups_ ? options.max_rows : std::min<int64_t>(options.max_rows, context_);
  if (!banks_.empty() && find_architecture(c.architecture)->gate_options) gate_ = describe(options.gate);
  if (options.ram > 0) {
    for (const auto& backend : backends_) {
      if (backend->memory()) fail(Status::kUnsupported, "a memory budget with the backend {}, which has memory of its own", backend->name());
    }
    budget_ = std::make_unique<MemoryBudget>(options.ram, source_.store);
    budget_->hold_dense_weights(graph_, options.plan_only);
  }
  if (!options.tune_file.empty() && !options.plan_only) tune(options);
  poll(options, 0.6f);

  std::vector<int64_t> buckets;
  for (int64_t rows : {1, 8, 64, 512}) {
    if (rows < max_rows_) buckets.push_back(rows);
  }
  buckets.push_back(max_rows_);
  const auto list = this->backends();
  int64_t least = 1;
  for (size_t i = 0; i < buckets.size(); ++i) {
    PlanOptions plan_options = plan_options_;
    plan_options.min_rows = least;
    plan_options.max_rows = buckets[i];
    plans_.push_back(std::make_unique<Plan>(graph_, list, plan_options, threads_->size()));
    least = buckets[i] + 1;
    poll(options, 0.6f + 0.4f * static_cast<float>(i + 1) / static_cast<float>(buckets.size()));
  }
  if (!options.backends.empty()) expect_used(*backends_.front());
  if (budget_) {
    const MemoryUse use = memory();
    expert_cache_ = budget_->expert_cache(banks_, use.kv_session, use.arena);
  }
}

void Model::tune(const ModelOptions& options) {
  for (const auto& file : source_.store.files()) {
    if (same_file(options.tune_file, file->path()))
      fail(Status::kInvalidArgument, "{}: is a file of the model, no place for measurements", printable(options.tune_file.string()));
  }
  TuneFile file(options.tune_file, cpu_info().model, source_.warnings);
  for (const auto& backend : backends_) {
    Tuning tuning = file.get(backend->target());
    backend->tune(graph_, plan_options_, budget_ ? 0 : kTuneSeconds, tuning);
    file.put(backend->target(), tuning);
    measured_[backend.get()] = std::move(tuning);
  }
  file.save();
}

// A backend that was asked for by name runs something, or the model does not load.
void Model::expect_used(const Backend& backend) const {
  std::string reason;
  for (const auto& plan : plans_) {
    for (const PlannedNode& node : plan->nodes()) {
      if (node.backend == &backend) return;
      if (reason.empty()) reason = node.refusals;
    }
  }
  fail(Status::kUnsupported, "backend '{}' was asked for but runs no node: {}", backend.name(), reason);
}

Model::~Model() = default;

std::vector<const Backend*> Model::backends() const {
  std::vector<const Backend*> list;
  for (const auto& backend : backends_) list.push_back(backend.get());
  return list;
}

const Plan& Model::plan(int64_t rows) const {
  for (const auto& plan : plans_) {
    if (rows <= plan->options().max_rows) return *plan;
  }
  fail(Status::kInternal, "a step of {} rows, limit {}", rows, max_rows_);
}

MemoryUse Model::memory() const {
  MemoryUse use;
  use.mapped = source_.store.bytes(MemoryClass::kMapped);
  use.copied = source_.store.bytes(MemoryClass::kCopy);
  use.repacked = source_.store.bytes(MemoryClass::kRepacked);
  if (budget_) use.mapped -= budget_->dense_bytes(), use.copied += budget_->dense_bytes();
  if (expert_cache_) use.expert_cache = expert_cache_->bytes();
  const size_t values = static_cast<size_t>(context_) * static_cast<size_t>(graph_.state.layers) *
                        static_cast<size_t>(graph_.state.kv_heads) * static_cast<size_t>(graph_.state.head_dim);
  use.kv_session = values * (dtype_info(plan_options_.key_type).bytes + dtype_info(plan_options_.value_type).bytes);
  for (const auto& plan : plans_) use.arena = std::max(use.arena, plan->arena_bytes());
  return use;
}

std::map<std::string, size_t> Model::bytes_by_type() const {
  std::map<std::string, size_t> bytes;
  for (const std::string& name : source_.store.names()) {
    const Tensor& t = source_.store.find(name)->tensor;
    bytes[dtype_info(t.dtype).name] += t.bytes();
  }
  return bytes;
}

int64_t Model::parameters() const {
  int64_t total = 0;
  for (const std::string& name : source_.store.names()) total += source_.store.find(name)->tensor.elements();
  return total;
}

int64_t Model::active_parameters() const {
  return static_cast<int64_t>(model_cost(graph_, context_).total.active);
}

std::vector<ExplainRow> Model::explain(int64_t tokens, int64_t context) const {
  const Plan& plan = this->plan(std::clamp<int64_t>(tokens, 1, max_rows_));
  std::vector<ExplainRow> rows;
  for (size_t i = 0; i < graph_.nodes().size(); ++i) {
    const Node& node = graph_.nodes()[i];
    const PlannedNode& planned = plan.nodes()[i];
    // The head and the last FFN run for wanted rows alone; one is wanted of a step.
    const Cost cost = node_cost(graph_, node, node.extent == Extent::kWanted ? 1 : tokens, context);
    rows.push_back({node.name, op_name(node.op), planned.backend->name(), planned.kernel->name(), planned.refusals,
                    cost.weight_bytes, cost.flops});
  }
  return rows;
}

std::vector<TunedRow> Model::tuning() const {
  std::vector<TunedRow> rows;
  for (const auto& backend : backends_) {
    const auto measured = measured_.find(backend.get());
    for (const auto& [kernel, number] : backend->tuning(graph_, plan_options_)) {
      rows.push_back({backend->name(), kernel, number, measured != measured_.end() && measured->second.contains(kernel)});
    }
  }
  return rows;
}

std::string Model::effective_configuration() const {
  const Config& c = source_.config;
  std::string out = fmt::format("model: {} ({}, {}), {} layers, width {}", source_.name, c.architecture, source_.format,
                                c.layers, c.width);
  if (c.experts > 0) out += fmt::format(", {} experts, top-{}", c.experts, c.active);
  out += fmt::format(", {:.1f} M parameters, {:.1f} M active\n", static_cast<double>(parameters()) / 1e6,
                     static_cast<double>(active_parameters()) / 1e6);
  out += "backends:";
  for (const auto& backend : backends_) out += fmt::format(" {} ({})", backend->name(), backend->target());
  out += fmt::format("\nthreads: {} ({})\ntypes:", threads_->size(), threads_->name());
  for (const auto& [type, bytes] : bytes_by_type()) out += fmt::format(" {} {}", type, megabytes(bytes));
  out += fmt::format("; activations {}; cache {}/{}\n",
                     plan_options_.activations == ActivationPrecision::kF32 ? "f32" : "auto",
                     dtype_info(plan_options_.key_type).name, dtype_info(plan_options_.value_type).name);
  if (!gate_.empty()) out += fmt::format("gate: {}\n", gate_);
  const MemoryUse use = memory();
  out += fmt::format("memory: mapped {}, copied {}, repacked {}, cache {} a session of {} tokens, arena {}\n",
                     megabytes(use.mapped), megabytes(use.copied), megabytes(use.repacked), megabytes(use.kv_session),
                     context_, megabytes(use.arena));
  if (budget_) {
    out += fmt::format("budget: {}", megabytes(budget_->bytes()));
    if (expert_cache_) out += fmt::format(", {} of them hold {} of {} experts", megabytes(use.expert_cache), expert_cache_->slots(), expert_cache_->experts());
    out += "\n";
  }
  return out;
}

}  // namespace moiety
