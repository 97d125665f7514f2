#include "backends/list.h"

#include <algorithm>

#include <fmt/ranges.h>

#ifdef MOIETY_ONEDNN
#include "backends/onednn/onednn.h"
#endif
#include "backends/reference/reference.h"
#include "core/error.h"
#include "simd/backend.h"

namespace moiety {

namespace {

std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& simd) {
  if (name == "simd") return std::make_unique<SimdBackend>(simd);
#ifdef MOIETY_ONEDNN
  if (name == "onednn") return std::make_unique<OneDnnBackend>();
#else
  if (name == "onednn") fail(Status::kUnsupported, "backend 'onednn': this build has no oneDNN");
#endif
  if (name == "reference") return std::make_unique<ReferenceBackend>();
  fail(Status::kInvalidArgument, "backend '{}' is unknown; known: {}", printable(name), fmt::join(backend_names(), ", "));
}

}  // namespace

std::vector<std::string> backend_names() { return {"onednn", "simd", "reference"}; }

std::vector<std::string> parse_backends(std::string_view list) {
  std::vector<std::string> names;
  const std::vector<std::string> known = backend_names();
  while (true) {
    const size_t comma = list.find(',');
    std::string name(list.substr(0, comma));
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(Status::kInvalidArgument, "backend '{}' is unknown; known: {}", printable(name), fmt::join(known, ", "));
    if (std::find(names.begin(), names.end(), name) != names.end())
      fail(Status::kInvalidArgument, "backend '{}' is named twice", name);
    names.push_back(std::move(name));
    if (comma == std::string_view::npos) return names;
    list.remove_prefix(comma + 1);
  }
}

std::vector<std::unique_ptr<Backend>> make_backends(const std::vector<std::string>& names, const std::string& simd) {
  std::vector<std::unique_ptr<Backend>> backends;
  // oneDNN has to be named: its bits depend on how a prompt is cut.
  const std::vector<std::string> chosen = names.empty() ? std::vector<std::string>{"simd", "reference"} : names;
  for (const std::string& name : chosen) backends.push_back(make_backend(name, simd));
  return backends;
}

}  // namespace moiety
