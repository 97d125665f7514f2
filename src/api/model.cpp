#include <algorithm>

#include "api/guard.h"
#include "backends/list.h"
#include "runtime/load.h"

namespace moiety::api {

moiety_model_params default_model_params() {
  moiety_model_params params{};
  params.struct_size = sizeof params;
  params.batch = 2048;
  params.ubatch = 512;
  return params;
}

namespace {

std::optional<DType> cache_type(moiety_type type, const char* name) {
  switch (type) {
    case MOIETY_TYPE_DEFAULT: return std::nullopt;
    case MOIETY_TYPE_F32: return DType::kF32;
    case MOIETY_TYPE_F16: return DType::kF16;
  }
  fail(Status::kInvalidArgument, "{}: {} is no moiety_type", name, static_cast<int>(type));
}

GateOptions gate_options(const moiety_model_params& params) {
  GateOptions options;
  if (params.gate) parse_gate(params.gate, options);
  if (params.gate_second_expert) parse_second_expert(params.gate_second_expert, options);
  if (params.gate_normalise) parse_normalise(params.gate_normalise, options);
  options.seed = params.gate_seed, options.batch_prioritised = params.gate_priority, options.pad_mask = params.gate_pad_mask;
  options.every_row = params.gate_statistics;
  return options;
}

ModelOptions model_options(const moiety_model_params& params) {
  ModelOptions options;
  if (params.threads < 0) fail(Status::kInvalidArgument, "threads is {}, expected 0 or more", params.threads);
  if (params.batch < 1 || params.ubatch < 1) {
    fail(Status::kInvalidArgument, "batch is {} and ubatch {}, expected 1 or more", params.batch, params.ubatch);
  }
  if (params.activations != MOIETY_ACTIVATIONS_AUTO && params.activations != MOIETY_ACTIVATIONS_F32) {
    fail(Status::kInvalidArgument, "activations is {}, expected 0 or 1", static_cast<int>(params.activations));
  }
  options.threads = params.threads;
  options.context = params.context;
  options.max_rows = std::min(params.batch, params.ubatch);
  options.activations = params.activations == MOIETY_ACTIVATIONS_F32 ? ActivationPrecision::kF32 : ActivationPrecision::kAuto;
  options.key_type = cache_type(params.key_type, "key_type");
  options.value_type = cache_type(params.value_type, "value_type");
  options.gate = gate_options(params);
  options.ram = params.ram_bytes;
  if (params.tune_path) options.tune_file = params.tune_path;
  if (params.simd) options.simd = params.simd;
  if (params.vocabulary) options.vocabulary = params.vocabulary;
  if (params.backends) options.backends = parse_backends(params.backends);
  if (params.thread_pool) options.thread_pool = params.thread_pool;
  if (params.progress) {
    options.progress = [progress = params.progress, data = params.progress_data](float done) { return progress(done, data); };
  }
  if (params.cancel) options.cancel = &params.cancel->token;
  return options;
}

std::unique_ptr<Model> load(const char* path, const moiety_model_params& params, bool plan_only = false) {
  required(path, "path");
  ModelOptions options = model_options(params);
  options.plan_only = plan_only;
  std::unique_ptr<Model> model = load_model(path, options);
  // A forced target that nothing uses is a mistake to be told, not one to be found out later.
  const auto is_simd = [](const Backend* backend) { return backend->name() == "simd"; };
  if (params.simd && std::ranges::none_of(model->backends(), is_simd)) {
    fail(Status::kInvalidArgument, "simd target '{}' is named, and no backend of this model is simd", printable(params.simd));
  }
  if (params.log) {
    for (const std::string& warning : model->warnings()) params.log(MOIETY_LOG_WARNING, warning.c_str(), params.log_data);
  }
  return model;
}

moiety_model_params params_of(const moiety_model_params* params) {
  return read_params(params, default_model_params(), "moiety_model_params");
}

moiety_gate_statistics gate_statistics(const moiety_model& model) {
  if (!model.gates) fail(Status::kInvalidArgument, "the model was loaded without gate_statistics");
  const std::scoped_lock lock(model.model->step_mutex());
  const GateStatistics s = model.gates->mean();
  return {0, model.gates->groups(), s.overflow[0], s.overflow[1], s.entropy, s.balance_top[0], s.balance_bottom[0],
          s.balance_top[1], s.balance_bottom[1], s.unused[0], s.unused[1], s.gate_loss};
}

moiety_expert_statistics expert_statistics(const Model& model) {
  const ExpertCache* cache = model.expert_cache();
  if (!cache) return {};
  const std::scoped_lock lock(model.step_mutex());
  const ExpertCache::Counts& c = cache->counts();
  const auto count = [](uint64_t n) { return static_cast<int64_t>(n); };
  return {0, cache->experts(), cache->slots(), count(c.uses), count(c.reads), count(c.read_bytes)};
}

moiety_model_info model_info(const Model& model) {
  const Config& c = model.config();
  const MemoryUse memory = model.memory();
  moiety_model_info info{};
  info.vocab = c.vocab, info.context = model.context(), info.layers = c.layers, info.width = c.width;
  info.experts = c.experts, info.active = c.experts > 0 ? c.active : 0, info.threads = model.threads().size();
  info.parameters = model.parameters(), info.active_parameters = model.active_parameters();
  info.mapped_bytes = memory.mapped, info.copied_bytes = memory.copied, info.repacked_bytes = memory.repacked;
  info.session_bytes = memory.kv_session, info.arena_bytes = memory.arena;
  info.has_tokenizer = model.tokenizer() != nullptr;
  info.whole_prompts = model.whole_groups();
  info.expert_cache_bytes = memory.expert_cache;
  return info;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string types_text(const Model& model) {
  std::vector<std::pair<size_t, std::string>> sorted;
  for (const auto& [type, bytes] : model.bytes_by_type()) sorted.emplace_back(bytes, type);
  std::ranges::sort(sorted, std::greater());
  std::vector<std::string> names;
  for (const auto& [bytes, type] : sorted) names.push_back(type);
  return joined(names);
}

std::string backends_text(const Model& model) {
  std::vector<std::string> names;
  for (const Backend* backend : model.backends()) names.push_back(fmt::format("{} ({})", backend->name(), backend->target()));
  return joined(names);
}

std::string model_text(const Model& model, moiety_text which) {
  switch (which) {
    case MOIETY_TEXT_NAME: return model.name();
    case MOIETY_TEXT_ARCHITECTURE: return model.config().architecture;
    case MOIETY_TEXT_FORMAT: return model.format();
    case MOIETY_TEXT_TYPES: return types_text(model);
    case MOIETY_TEXT_BACKENDS: return backends_text(model);
    case MOIETY_TEXT_CONFIGURATION: return model.effective_configuration();
    case MOIETY_TEXT_CHAT_TEMPLATE: return model.tokenizer() ? model.tokenizer()->chat_template() : "";
  }
  fail(Status::kInvalidArgument, "{} is no moiety_text", static_cast<int>(which));
}

void check_step(int32_t tokens, int32_t context) {
  if (tokens < 1 || context < 0) fail(Status::kInvalidArgument, "tokens is {} and context {}, expected 1 and 0 or more", tokens, context);
}

std::string explain_text(const Model& model, int32_t tokens, int32_t context) {
  check_step(tokens, context);
  std::string text = fmt::format("{:<40} {:<12} {:<10} {:<36} {:>12} {:>12}  {}\n", "node", "op", "backend", "kernel", "weight bytes",
                                 "FLOPs", "refused before");
  double bytes = 0, flops = 0;
  for (const ExplainRow& row : model.explain(tokens, context)) {
    text += fmt::format("{:<40} {:<12} {:<10} {:<36} {:>12.0f} {:>12.0f}  {}\n", row.node, row.op, row.backend, row.kernel,
                        row.weight_bytes, row.flops, row.refusals);
    bytes += row.weight_bytes, flops += row.flops;
  }
  text += fmt::format("{:<40} {:<12} {:<10} {:<36} {:>12.0f} {:>12.0f}\n", "total", "", "", "", bytes, flops);
  for (const TunedRow& row : model.tuning()) {
    text += fmt::format("{}, {}: {} rows of a group or more run as a GEMM, fewer as GEMVs ({})\n", row.backend, row.kernel, row.rows,
                        row.measured ? "measured" : "not measured");
  }
  return text;
}

}  // namespace
}  // namespace moiety::api

using namespace moiety::api;

void moiety_model_params_defaults(moiety_model_params* params, size_t struct_size) {
  write_defaults(params, struct_size, default_model_params());
}

moiety_status moiety_model_load(const char* path, const moiety_model_params* params, moiety_model** model, moiety_error* error) {
  if (model) *model = nullptr;
  return guarded(error, [&] {
    required(model, "model");
    const moiety_model_params p = params_of(params);
    *model = new moiety_model{load(path, p), p.gate_statistics ? std::make_unique<moiety::GateTelemetry>() : nullptr};
  });
}

void moiety_model_free(moiety_model* model) { delete model; }

moiety_status moiety_model_get_info(const moiety_model* model, moiety_model_info* info, moiety_error* error) {
  return guarded(error, [&] { write_result(info, model_info(*required(model, "model").model), "moiety_model_info"); });
}

moiety_status moiety_plan_memory(const char* path, const moiety_model_params* params, moiety_model_info* info, moiety_error* error) {
  return guarded(error, [&] { write_result(info, model_info(*load(path, params_of(params), true)), "moiety_model_info"); });
}

moiety_status moiety_model_text(const moiety_model* model, moiety_text which, char* text, size_t capacity, size_t* length,
                                moiety_error* error) {
  return guarded(error, [&] { write_text(model_text(*required(model, "model").model, which), text, capacity, length); });
}

moiety_status moiety_model_explain(const moiety_model* model, int32_t tokens, int32_t context, char* text, size_t capacity,
                                   size_t* length, moiety_error* error) {
  return guarded(error, [&] { write_text(explain_text(*required(model, "model").model, tokens, context), text, capacity, length); });
}

moiety_status moiety_model_get_cost(const moiety_model* model, int32_t tokens, int32_t context, moiety_cost* cost,
                                    moiety_error* error) {
  return guarded(error, [&] {
    check_step(tokens, context);
    moiety_cost sum{};
    for (const moiety::ExplainRow& row : required(model, "model").model->explain(tokens, context)) {
      sum.weight_bytes += row.weight_bytes, sum.flops += row.flops;
    }
    required(cost, "cost") = sum;
  });
}

moiety_status moiety_model_gate_statistics(const moiety_model* model, moiety_gate_statistics* statistics, moiety_error* error) {
  return guarded(error, [&] { write_result(statistics, gate_statistics(required(model, "model")), "moiety_gate_statistics"); });
}

moiety_status moiety_model_expert_statistics(const moiety_model* model, moiety_expert_statistics* statistics, moiety_error* error) {
  return guarded(error, [&] { write_result(statistics, expert_statistics(*required(model, "model").model), "moiety_expert_statistics"); });
}
