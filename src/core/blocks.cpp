#include "core/blocks.h"

#include <cmath>
#include <cstring>

#include "core/blocks_codec.h"

namespace moiety {
namespace {

template <class Block>
void decode_blocks(const void* src, float* dst, int64_t count, int64_t values) {
  const Block* blocks = static_cast<const Block*>(src);
  for (int64_t i = 0; i < count / values; ++i) codec::decode_block(blocks[i], dst + i * values);
}

template <class Block>
void encode_blocks(const float* src, void* dst, int64_t count, int64_t values) {
  Block* blocks = static_cast<Block*>(dst);
  for (int64_t i = 0; i < count / values; ++i) codec::encode_block(src + i * values, blocks[i]);
}

void encode_halves(const float* src, void* dst, int64_t count, uint16_t (*convert)(float)) {
  std::byte* out = static_cast<std::byte*>(dst);
  for (int64_t i = 0; i < count; ++i) store_u16(out + 2 * i, convert(src[i]));
}

void check_count(const char* what, DType type, int64_t count) {
  const DTypeInfo& info = dtype_info(type);
  if (count < 0 || count % info.block != 0) {
    fail(Status::kInvalidArgument, "{} {}: expected a multiple of {} values, got {}", what, info.name, info.block,
         count);
  }
}

// No quantised type reaches 1e9 (fp16's largest times 127 times 32 is 2.7e8); below it no sum of a fit overflows.
void check_range(DType type, const float* src, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::fabs(src[i]) < 1e9f)) {
      fail(Status::kNumeric, "encode {}: expected values below 1e9, got {} at {}", dtype_info(type).name, src[i], i);
    }
  }
}

}  // namespace

void decode(DType type, const void* src, float* dst, int64_t count) {
  check_count("decode", type, count);
  const std::byte* in = static_cast<const std::byte*>(src);
  switch (type) {
    case DType::kF32:
      if (count) std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      for (int64_t i = 0; i < count; ++i) dst[i] = load_f16(in + 2 * i);
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) dst[i] = load_bf16(in + 2 * i);
      return;
    case DType::kQ8_0:
      return decode_blocks<BlockQ8_0>(src, dst, count, 32);
    case DType::kQ4_0:
      return decode_blocks<BlockQ4_0>(src, dst, count, 32);
    case DType::kQ4_1:
      return decode_blocks<BlockQ4_1>(src, dst, count, 32);
    case DType::kQ5_0:
      return decode_blocks<BlockQ5_0>(src, dst, count, 32);
    case DType::kQ5_1:
      return decode_blocks<BlockQ5_1>(src, dst, count, 32);
    case DType::kQ2_K:
      return decode_blocks<BlockQ2_K>(src, dst, count, 256);
    case DType::kQ3_K:
      return decode_blocks<BlockQ3_K>(src, dst, count, 256);
    case DType::kQ4_K:
      return decode_blocks<BlockQ4_K>(src, dst, count, 256);
    case DType::kQ5_K:
      return decode_blocks<BlockQ5_K>(src, dst, count, 256);
    case DType::kQ6_K:
      return decode_blocks<BlockQ6_K>(src, dst, count, 256);
    case DType::kIQ4_NL:
      return decode_blocks<BlockIQ4_NL>(src, dst, count, 32);
    case DType::kIQ4_XS:
      return decode_blocks<BlockIQ4_XS>(src, dst, count, 256);
    case DType::kMXFP4:
      return decode_blocks<BlockMXFP4>(src, dst, count, 32);
    case DType::kI32:
      break;
  }
  fail(Status::kUnsupported, "decode: expected a float or quantised type, got {}", dtype_info(type).name);
}

bool can_encode(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_K:
    case DType::kQ6_K:
      return true;
    default:
      return false;
  }
}

void encode(DType type, const float* src, void* dst, int64_t count) {
  check_count("encode", type, count);
  if (is_quantised(type)) check_range(type, src, count);
  switch (type) {
    case DType::kF32:
      if (count) std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return encode_halves(src, dst, count, [](float v) { return f32_to_f16(v); });
    case DType::kBF16:
      return encode_halves(src, dst, count, [](float v) { return f32_to_bf16(v); });
    case DType::kQ8_0:
      return encode_blocks<BlockQ8_0>(src, dst, count, 32);
    case DType::kQ4_0:
      return encode_blocks<BlockQ4_0>(src, dst, count, 32);
    case DType::kQ4_K:
      return encode_blocks<BlockQ4_K>(src, dst, count, 256);
    case DType::kQ6_K:
      return encode_blocks<BlockQ6_K>(src, dst, count, 256);
    default:
      break;
  }
  fail(Status::kUnsupported, "encode: expected one of f32 f16 bf16 q8_0 q4_0 q4_K q6_K, got {}", dtype_info(type).name);
}

}  // namespace moiety
