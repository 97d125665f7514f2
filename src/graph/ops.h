// The operations of the graph: one struct an op. This file is the contract that every backend keeps.
// Letters: T tokens (rows of the step), N wanted rows, D width, H heads, G kv-heads, A head dim, E experts, k active,
// F expert width, V vocabulary. Activations are f32 rows; weights have any DType and are [out, in], row-major.
// Every op is pure; state (the KV cache) is named by its operands.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "core/tensor.h"
#include "weights/expert_bank.h"

namespace moiety {

enum class Activation : uint8_t { kSilu, kGelu /* erf */, kGeluTanh, kRelu, kSwigluOai /* x*sigmoid(alpha x)*(up+1) */ };

struct Embedding { Tensor table; float scale = 1; };  // ids[T], table[V,D] -> [T,D] = table[id] * scale

// x[T,D] -> x / sqrt(mean(x²) + eps) * weight. With groups > 1 each of the groups equal slices of a row is normalised
// alone; weight is [D] or [D/groups].
struct RmsNorm { Tensor weight{}; float eps = 1e-6f; int groups = 1; };
struct LayerNorm { Tensor weight, bias; float eps = 1e-5f; };  // x[T,D] -> (x - mean) / sqrt(var + eps) * weight + bias

struct Linear { Tensor weight, bias; };  // x[T,K], weight[O,K], bias[O] or absent -> [T,O]
struct Clamp { float limit = 0; };       // x -> min(max(x, -limit), limit)
struct Scale { float factor = 1; };      // x -> x * factor
struct Add { float scale = 1; };         // a, b -> a + scale * b
struct Act { Activation kind = Activation::kGelu; };  // x -> act(x)

// gate[T,F], up[T,F] -> act(gate) * up. With limit > 0 (gpt-oss): gate = min(gate, limit), up = clamp(up, ±limit).
struct Glu { Activation kind = Activation::kSilu; float limit = 0; float alpha = 1.702f; };

// Rotates the first 2 * frequencies.size() values of each head of x[T,H*A] by position * frequencies[i] (radians);
// cos and sin are multiplied by magnitude (YaRN). Pairs: (i, i + half), or (2i, 2i + 1) when interleaved.
struct Rope {
  int heads = 0;
  int head_dim = 0;
  bool interleaved = false;
  std::vector<float> frequencies;
  float magnitude = 1;
};

// x[T,D] -> x + [sin(a), cos(a)], a_i = f32((position + offset) * frequencies[i]), i < D/2: all sines, then all cosines.
// A pad's row is left as it is.
struct AddSinusoid { std::vector<float> frequencies; int offset = 0; };

struct KvStore { int layer = 0; };  // k[T,G*A], v[T,G*A] -> Kv: the session's cache of this layer with the rows appended

// Causal attention. q[T,H*A], Kv -> [T,H*A]: softmax over s <= position (and s > position - window if window > 0) of
// softcap(q·k_s * scale), weighing v_s; query head h reads kv head h / (H/G). sinks[H], if present, adds a logit a
// head that takes weight and gives no value. softcap > 0: c * tanh(x / c).
struct Attention {
  int layer = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;
  int window = 0;
  float softcap = 0;
  Tensor sinks{};
};

enum class Score : uint8_t { kSoftmax, kSigmoid, kSoftmaxAfterTopK, kRaw };
enum class Selection : uint8_t { kTopK, kGroupedTopK, kThreshold, kDense, kStaticId, kByMember };
enum class Renormalise : uint8_t { kNo, kBeforeDrop, kAfterDrop };
enum class Drop : uint8_t { kNone, kByPosition, kBatchPrioritised, kRandom };
enum class Noise : uint8_t { kNone, kGumbel /* on all but the first choice */, kJitter };
enum class Capacity : uint8_t { kNone, kTwiceMean, kFraction, kFactor };
enum class Keep : uint8_t { kAll, kByChance };  // by chance (top 2): the second choice stays where 2 * its weight > U(0,1)

// logits[T,E] -> Routing. Ties go to the lower expert; a non-finite logit fails the row (RowStatus), never indexes.
// What a backend does not build it refuses with a reason.
// With a capacity of C (gate_capacity) choices of an expert in a gating group of S rows (Batch::groups), the rule looks
// at all rows of the group: the n-th choices of all rows queue behind all (n-1)-th ones, in the order of `drop`
// (position, or best gate first); what comes C-th or later is dropped. Weights are divided by their sum, before that or
// of what is left. Source: GShard (arXiv 2006.16668), algorithm 1; fairseq's branch moe.
struct Route {
  int experts = 0, top_k = 0;
  Score score = Score::kSoftmax;
  Selection selection = Selection::kTopK;
  Renormalise renormalise = Renormalise::kNo;
  float weight_scale = 1;
  Tensor selection_bias{};  // [E]: chosen by score + bias, weighed by score
  int groups = 1, top_groups = 1;
  int group_best = 1;     // a group's score: the sum of its group_best best (DeepSeek-V2: 1, DeepSeek-V3: 2)
  Noise noise = Noise::kNone;
  Drop drop = Drop::kNone;
  Capacity capacity = Capacity::kNone;
  double capacity_factor = 0;  // kFraction: C = ceil(factor * S)
  Keep keep = Keep::kAll;
  bool pads_choose = true;     // false: a pad takes no place and counts in S alone
  uint64_t seed = 0;           // noise and chance depend on (seed, session, position, layer)
  int layer = 0;
};

// x[T,D], Routing -> [T,D]: sum over a row's experts, in ascending expert id, of weight * expert(x), starting at 0.
struct Experts { const ExpertBank* bank = nullptr; Activation kind = Activation::kSilu; float limit = 0; float alpha = 1.702f; };

struct SelectRows {};  // x[T,D] -> [N,D]: the rows whose logits are wanted

using Op = std::variant<Embedding, RmsNorm, LayerNorm, Linear, Clamp, Scale, Add, Act, Glu, Rope, AddSinusoid,
                        KvStore, Attention, Route, Experts, SelectRows>;

const char* op_name(const Op& op);

}  // namespace moiety
