#include <doctest/doctest.h>

#include "eval/journal.h"
#include "tests/models/golden.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"

using namespace moiety;
using eval::Journal;

TEST_CASE("a journal keeps exact numbers, and forgets a torn last line") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "run.journal";
  {
    Journal journal(path, 7);
    CHECK(journal.size() == 0);
    journal.add("0.0", {1.0 / 3, 64});
    journal.add("0.1", {-1e-300});
  }
  const std::string whole = test::read_file(path);
  {
    const Journal journal(path, 7);
    REQUIRE(journal.find("0.0"));
    CHECK(*journal.find("0.0") == std::vector<double>{1.0 / 3, 64});
    CHECK(*journal.find("0.1") == std::vector<double>{-1e-300});
    CHECK_FALSE(journal.find("0.2"));
  }
  for (size_t cut = 0; cut < whole.size(); ++cut) {  // stopped at any byte
    test::write_text(path, whole.substr(0, cut));
    Journal journal(path, 7);
    CHECK(journal.size() < 2);
    journal.add("0.0", {1.0 / 3, 64});
    if (!journal.find("0.1")) journal.add("0.1", {-1e-300});
  }
  const Journal last(path, 7);
  CHECK(last.size() == 2);
}

TEST_CASE("a journal of another run, and files that are none, are refused") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "run.journal";
  Journal(path, 7).add("a", {1});
  CHECK(test::status_of([&] { Journal(path, 8); }) == Status::kInvalidArgument);
  const std::string whole = test::read_file(path);
  for (const std::string& text : {std::string("hello\n"), whole + "b x\n", whole + " 1\n", whole + "b 1,2\n", whole + "\n"}) {
    test::write_text(path, text);
    CHECK(test::status_of([&] { Journal(path, 7); }) == Status::kFormat);
    CHECK(test::read_file(path) == text);
  }
  CHECK(test::status_of([&] { Journal(folder.path() / "none" / "x", 7); }) == Status::kIo);
  CHECK(test::status_of([&] { Journal(folder.path(), 7); }) == Status::kIo);
}
