#include "backends/list.h"

#include <doctest/doctest.h>

#include "core/error.h"

using namespace moiety;

namespace {

Status status_of(const std::string& list) {
  try {
    parse_backends(list);
    return Status::kOk;
  } catch (const Error& error) {
    return error.status();
  }
}

}  // namespace

TEST_CASE("a list of backends is read in order") {
  CHECK(parse_backends("onednn,simd,reference") == std::vector<std::string>{"onednn", "simd", "reference"});
  CHECK(parse_backends("reference") == std::vector<std::string>{"reference"});
}

TEST_CASE("unknown, empty and repeated names are errors that name them") {
  for (const char* list : {"", ",", "simd,", "cuda", "simd,reference,", "Simd", " simd", "simd,simd"})
    CHECK(status_of(list) == Status::kInvalidArgument);
  CHECK_THROWS_WITH(parse_backends("simd,magic"), doctest::Contains("'magic'"));
  CHECK_THROWS_WITH(parse_backends("magic"), doctest::Contains("onednn, simd, reference"));
}

TEST_CASE("the default list is simd, then reference; oneDNN has to be named") {
  const auto backends = make_backends({}, "");
  REQUIRE(backends.size() == 2);
  CHECK(backends[0]->name() == "simd");
  CHECK(backends[1]->name() == "reference");
  CHECK_THROWS_AS(make_backends({"magic"}, ""), Error);
  CHECK_THROWS_AS(make_backends({"simd"}, "magic"), Error);
}
