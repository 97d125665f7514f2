#include "runtime/fairseq_config.h"

#include <cmath>

#include "core/error.h"
#include "runtime/json_fields.h"

namespace moiety {
namespace {

std::optional<simdjson::dom::object> settings_of(simdjson::dom::element root) {
  for (const char* path : {"", "/model", "/cfg/model"}) {
    simdjson::dom::object object;
    simdjson::dom::element width;
    if (root.at_pointer(path).get(object) == simdjson::SUCCESS &&
        object.at_key("decoder_embed_dim").get(width) == simdjson::SUCCESS) {
      return object;
    }
  }
  return std::nullopt;
}

void refuse_unless(bool built, const std::string& subject, const char* key, std::string_view value) {
  if (!built) fail(Status::kUnsupported, "{}: {} = {} is not supported", subject, key, printable(value));
}

}  // namespace

bool is_fairseq_config(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  return parser.parse(json.data(), json.size()).get(root) == simdjson::SUCCESS && settings_of(root).has_value();
}

Config read_fairseq_config(std::string_view json, const std::string& subject) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    fail(Status::kFormat, "{}: is not valid JSON: {}", subject, simdjson::error_message(error));
  }
  const auto object = settings_of(root);
  if (!object) fail(Status::kFormat, "{}: decoder_embed_dim is missing", subject);
  JsonFields f(*object, subject);
  Config c;
  c.architecture = "fairseq_moe";
  c.layers = f.count("decoder_layers");
  c.width = f.count("decoder_embed_dim");
  c.heads = c.kv_heads = f.count("decoder_attention_heads");
  if (c.heads > 0 && c.width % c.heads != 0) {
    fail(Status::kFormat, "{}: decoder_embed_dim {} is no multiple of {} heads", subject, c.width, c.heads);
  }
  c.head_dim = c.heads > 0 ? c.width / c.heads : 0;
  const int ffn = f.count("decoder_ffn_embed_dim", c.width > 0 && c.width < (1 << 24) ? 4 * c.width : 0);
  c.ffn_width = ffn;
  c.experts = f.count("moe_expert_count", 0);
  const int frequency = f.count("moe_freq", 0);
  if (c.experts > 0 && frequency < 1) fail(Status::kFormat, "{}: {} experts, but moe_freq is {}", subject, c.experts, frequency);
  if (c.experts > 0) {
    c.sparse_step = frequency, c.expert_width = ffn;
    c.active = f.boolean("moe_top1_expert").value_or(false) ? 1 : 2;
    refuse_unless(c.active == 2, subject, "moe_top1_expert", "true");
  }
  c.vocab = f.count("vocab_size", 51200);
  c.context = f.count("max_target_positions", f.count("tokens_per_sample", 2048));
  c.eps = 1e-5f;
  c.activation = Activation::kGelu;
  c.rope.partial = 1;
  c.tied_head = f.boolean("share_decoder_input_output_embed").value_or(true);
  c.embedding_scale = f.boolean("no_scale_embedding").value_or(false) ? 1 : std::sqrt(static_cast<float>(c.width));
  c.normalise_before_drop = f.boolean("moe_normalize_gate_prob_before_dropping").value_or(false);
  c.pad_id = 1;
  const std::string activation = f.string("activation_fn").value_or("gelu");
  refuse_unless(activation == "gelu", subject, "activation_fn", activation);
  refuse_unless(!f.boolean("decoder_learned_pos").value_or(false), subject, "decoder_learned_pos", "true");
  refuse_unless(f.boolean("decoder_normalize_before").value_or(true), subject, "decoder_normalize_before", "false");
  check_config(c, subject);
  return c;
}

}  // namespace moiety
