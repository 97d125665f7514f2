// Row kernels of one level that lie in files of their own (signatures: RowKernels).
#pragma once

#include "simd/row_kernels.h"

namespace moiety::simd::MOIETY_LEVEL {

void act_row(RowActivation kind, const float* x, int64_t count, float* y) noexcept;
void glu_row(RowActivation kind, float limit, float alpha, const float* gate, const float* up, int64_t count,
             float* y) noexcept;
void rope_table(double position, const double* frequencies, double magnitude, int64_t pairs, float* cosines,
                float* sines) noexcept;
void rope_head(const float* x, const float* cosines, const float* sines, int64_t pairs, bool interleaved,
               int64_t head_dim, float* y) noexcept;
void attention_block(const AttentionBlock& block) noexcept;
int64_t attention_floats(int64_t queries, int64_t head_dim) noexcept;

}  // namespace moiety::simd::MOIETY_LEVEL
