// The gate cases of the data folder, and of copies of it that are wrong in one place.
#include <nlohmann/json.hpp>

#include "damage.h"
#include "tests/models/golden.h"

using namespace moiety;
using namespace moiety::test;

TEST_CASE("gate cases") {
  const Outcome out = check_gate_cases(data_folder);
  print("gate cases, each on every backend", out);
  CHECK(out.wrong.empty());
  if (fs::exists(data_folder / "gate")) CHECK(out.checked > 0);
}

TEST_CASE("a gate case with another expert id, or another weight, is found") {
  if (!fs::exists(data_folder / "gate")) return;
  const auto case_of = [](const fs::path& folder) {
    const auto book = nlohmann::json::parse(read_file(folder / "gate" / "cases.json"));
    return folder / "gate" / book.at("cases").back().at("file").get<std::string>();
  };
  for (const char* array : {"expert1", "expert2", "location1"}) {
    const Copy copy("gate");
    damage(case_of(copy.path), array, 4, plus<int32_t>(1));
    CHECK(!check_gate_cases(copy.path).wrong.empty());
  }
  const Copy copy("gate");
  damage(case_of(copy.path), "weight1", 4, plus<float>(1e-4f));
  CHECK(!check_gate_cases(copy.path).wrong.empty());
}
