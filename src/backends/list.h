// The backends in the order in which they are asked. list.cpp alone sees them all.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/backend.h"

namespace moiety {

// Names that make_backends() knows.
std::vector<std::string> backend_names();

// "onednn,simd,reference" -> its names. Throws Error kInvalidArgument for an unknown or a repeated name.
std::vector<std::string> parse_backends(std::string_view list);

// `names` in order ("simd", "reference"); empty: the default list. `simd`: a SIMD level's name, empty for the best.
// Throws Error kInvalidArgument for an unknown name, kUnsupported for what this CPU or this build lacks.
std::vector<std::unique_ptr<Backend>> make_backends(const std::vector<std::string>& names, const std::string& simd);

}  // namespace moiety
