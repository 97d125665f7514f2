#include "simd/rows-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

HWY_INLINE RowVec silu(RowVec x) { return hn::Div(x, hn::Add(set(1.0f), exp_row(hn::Neg(x)))); }

// x * Phi(x). The tail Phi(-z), z = |x|, is t * P(t) * exp(-z²/2) with t = 1 / (1 + 0.4 z), to 4 eps for z < 14:
// so the negative side keeps its relative accuracy too.
HWY_INLINE RowVec gelu(RowVec x) {
  const RowVec z = hn::Abs(x);
  const RowVec t = hn::Div(set(1.0f), hn::MulAdd(z, set(0.4f), set(1.0f)));
  RowVec p = hn::MulAdd(set(0.0322125181555748f), t, set(-0.17679214477539062f));
  p = hn::MulAdd(p, t, set(0.3822168707847595f));
  p = hn::MulAdd(p, t, set(-0.37384817004203796f));
  p = hn::MulAdd(p, t, set(0.11926977336406708f));
  p = hn::MulAdd(p, t, set(-0.02668427862226963f));
  p = hn::MulAdd(p, t, set(0.09126758575439453f));
  p = hn::MulAdd(p, t, set(0.13315661251544952f));
  p = hn::MulAdd(p, t, set(0.15962524712085724f));
  p = hn::MulAdd(p, t, set(0.15957601368427277f));
  const RowVec tail = hn::Mul(hn::Mul(p, t), exp_row(hn::Mul(hn::Mul(z, set(-0.5f)), z)));
  const RowVec phi = hn::IfThenElse(hn::Lt(x, hn::Zero(kRow)), tail, hn::Sub(set(1.0f), tail));
  return hn::Mul(x, phi);
}

// 0.5 x (1 + tanh(u)) = x * sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³)
HWY_INLINE RowVec gelu_tanh(RowVec x) {
  const RowVec cubic = hn::MulAdd(hn::Mul(hn::Mul(x, x), x), set(0.044715f), x);
  return hn::Div(x, hn::Add(set(1.0f), exp_row(hn::Mul(cubic, set(-1.59576912f)))));
}

HWY_INLINE RowVec relu(RowVec x) { return hn::IfThenElse(hn::Lt(x, hn::Zero(kRow)), hn::Zero(kRow), x); }

// Calls body with the activation as a function of one vector.
template <class Body>
HWY_INLINE void with_activation(RowActivation kind, const Body& body) {
  switch (kind) {
    case RowActivation::kSilu: return body([](RowVec x) { return silu(x); });
    case RowActivation::kGelu: return body([](RowVec x) { return gelu(x); });
    case RowActivation::kGeluTanh: return body([](RowVec x) { return gelu_tanh(x); });
    case RowActivation::kRelu: return body([](RowVec x) { return relu(x); });
    case RowActivation::kSwigluOai: return;  // glu_row's own
  }
}

HWY_INLINE RowVec at_most(RowVec x, RowVec limit) { return hn::IfThenElse(hn::Gt(x, limit), limit, x); }

}  // namespace

void act_row(RowActivation kind, const float* x, int64_t count, float* y) noexcept {
  with_activation(kind, [&](const auto& f) { map_row(x, count, y, f); });
}

void glu_row(RowActivation kind, float limit, float alpha, const float* gate, const float* up, int64_t count,
             float* y) noexcept {
  const RowVec most = set(limit > 0 ? limit : __builtin_inff()), least = hn::Neg(most);
  const auto bounded = [&](RowVec u) {
    u = at_most(u, most);
    return hn::IfThenElse(hn::Lt(u, least), least, u);
  };
  if (kind == RowActivation::kSwigluOai) {
    map_rows(gate, up, count, y, [&](RowVec g, RowVec u) {
      g = at_most(g, most);
      const RowVec opened = hn::Div(g, hn::Add(set(1.0f), exp_row(hn::Mul(g, set(-alpha)))));
      return hn::Mul(opened, hn::Add(bounded(u), set(1.0f)));
    });
    return;
  }
  with_activation(kind, [&](const auto& f) {
    map_rows(gate, up, count, y, [&](RowVec g, RowVec u) { return hn::Mul(f(at_most(g, most)), bounded(u)); });
  });
}

}  // namespace moiety::simd::MOIETY_LEVEL
