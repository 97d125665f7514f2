#include "core/dtype.h"

#include <array>
#include <cctype>

namespace moiety {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"f32", 1, 4},      {"f16", 1, 2},      {"bf16", 1, 2},     {"i32", 1, 4},      {"q8_0", 32, 34},
    {"q4_0", 32, 18},   {"q4_1", 32, 20},   {"q5_0", 32, 22},   {"q5_1", 32, 24},   {"q2_K", 256, 84},
    {"q3_K", 256, 110}, {"q4_K", 256, 144}, {"q5_K", 256, 176}, {"q6_K", 256, 210}, {"iq4_nl", 32, 18},
    {"iq4_xs", 256, 136}, {"mxfp4", 32, 17},
}};

}  // namespace

const DTypeInfo& dtype_info(DType type) { return kInfo[static_cast<size_t>(type)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  auto lower = [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); };
  for (size_t i = 0; i < kInfo.size(); ++i) {
    const std::string_view candidate = kInfo[i].name;
    if (candidate.size() != name.size()) continue;
    bool same = true;
    for (size_t j = 0; j < name.size(); ++j) same = same && lower(name[j]) == lower(candidate[j]);
    if (same) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace moiety
