#include "models/config.h"

#include <cmath>

#include "core/error.h"

namespace moiety {
namespace {

struct Checker {
  const std::string& subject;

  void count(const char* field, int64_t value, int64_t low, int64_t high) const {
    if (value >= low && value <= high) return;
    fail(Status::kFormat, "{}: {} is {}, expected {} to {}", subject, field, value, low, high);
  }
  void finite(const char* field, double value, double low, double high) const {
    if (value >= low && value <= high) return;  // false for NaN
    fail(Status::kFormat, "{}: {} is {}, expected {} to {}", subject, field, value, low, high);
  }
};

void check_rope(const Config& c, const Checker& check) {
  const RopeConfig& r = c.rope;
  check.finite("rope theta", r.theta, 1e-3, 1e30);
  check.finite("rope partial factor", r.partial, 1e-6, 1);
  check.finite("rope factor", r.factor, 1e-6, 1e6);
  check.finite("rope attention factor", r.attention_factor.value_or(1), 1e-6, 1e6);
  check.finite("rope beta_fast", r.beta_fast, 1e-6, 1e6);
  check.finite("rope beta_slow", r.beta_slow, 1e-6, 1e6);
  check.finite("rope mscale", r.mscale, 0, 1e6);
  check.finite("rope mscale_all_dim", r.mscale_all_dim, 0, 1e6);
  check.finite("rope low_freq_factor", r.low_freq_factor, 1e-6, 1e6);
  check.finite("rope high_freq_factor", r.high_freq_factor, 1e-6, 1e6);
  check.count("rope original context", r.original_context, 0, INT32_MAX);
  const auto rotated = static_cast<int64_t>(c.head_dim * r.partial);
  if (rotated < 2 || rotated % 2 != 0) {
    fail(Status::kFormat, "{}: {} of head_dim {} are rotated, expected an even number", check.subject, rotated,
         c.head_dim);
  }
  for (const std::vector<float>* factors : {&r.short_factor, &r.long_factor, &r.divisors}) {
    if (!factors->empty())
      check.count("length of the rope factors", static_cast<int64_t>(factors->size()), rotated / 2, rotated / 2);
    for (float f : *factors) check.finite("a rope factor", f, 1e-6, 1e9);
  }
  if (r.kind == RopeKind::kLongRope && (r.short_factor.empty() || r.long_factor.empty())) {
    fail(Status::kFormat, "{}: longrope needs short_factor and long_factor", check.subject);
  }
}

}  // namespace

void check_config(const Config& c, const std::string& subject) {
  const Checker check{subject};
  check.count("number of layers", c.layers, 1, 65536);
  check.count("width", c.width, 1, 1 << 24);
  check.count("number of attention heads", c.heads, 1, 65536);
  check.count("number of key-value heads", c.kv_heads, 1, c.heads);
  if (c.heads % c.kv_heads != 0) {
    fail(Status::kFormat, "{}: {} attention heads are no multiple of {} key-value heads", subject, c.heads, c.kv_heads);
  }
  check.count("head_dim", c.head_dim, 1, 65536);
  check.count("vocabulary", c.vocab, 1, 1 << 28);
  check.count("context", c.context, 1, INT32_MAX);
  check.finite("norm epsilon", c.eps, 0, 1);
  check.count("dense FFN width", c.ffn_width, 0, 1 << 28);
  check.count("number of experts", c.experts, 0, 65536);
  if (c.experts > 0) {
    check.count("experts per token", c.active, 1, c.experts);
    check.count("expert width", c.expert_width, 1, 1 << 28);
  } else {
    check.count("dense FFN width", c.ffn_width, 1, 1 << 28);
  }
  check.count("decoder_sparse_step", c.sparse_step, 1, INT32_MAX);
  check.finite("clip_qkv", c.clip_qkv, 0, 1e30);
  check.finite("embedding multiplier", c.embedding_scale, -1e30, 1e30);
  check.finite("residual multiplier", c.residual_scale, -1e30, 1e30);
  check.finite("logit scale", c.logit_scale, -1e30, 1e30);
  check.finite("attention multiplier", c.attention_scale, -1e30, 1e30);
  if (!c.windows.empty())
    check.count("length of the layer types", static_cast<int64_t>(c.windows.size()), c.layers, c.layers);
  for (int window : c.windows) check.count("sliding window", window, 0, INT32_MAX);
  check_rope(c, check);
}

}  // namespace moiety
