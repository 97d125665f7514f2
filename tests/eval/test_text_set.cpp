#include <doctest/doctest.h>

#include "eval/text_set.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"

using namespace moiety;

TEST_CASE("files, folders and names") {
  const test::TemporaryFolder folder;
  namespace fs = std::filesystem;
  fs::create_directories(folder.path() / "pile" / "deep");
  fs::create_directories(folder.path() / "pile" / ".git");
  fs::create_directories(folder.path() / "empty");
  test::write_text(folder.path() / "pile" / "b.txt", "b");
  test::write_text(folder.path() / "pile" / "deep" / "a.txt", "a");
  test::write_text(folder.path() / "pile" / ".git" / "x", "x");
  test::write_text(folder.path() / "pile" / ".hidden", "x");
  test::write_text(folder.path() / "x=y", "equals");
  const std::string root = folder.path().string();

  auto found = eval::find_texts(root + "/pile", "in");
  REQUIRE(found.size() == 2);
  CHECK(found[0].name == "b.txt");
  CHECK(found[1].name == "deep/a.txt");
  CHECK(found[1].set == "in");
  CHECK(eval::read_text(found[1].path) == "a");
  found = eval::find_texts("all=" + root + "/pile");
  REQUIRE(found.size() == 2);
  CHECK(found[0].name == "all/b.txt");
  found = eval::find_texts("one=" + root + "/pile/b.txt");
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "one");
  CHECK(eval::find_texts(root + "/x=y")[0].name == "x=y");
  CHECK(test::status_of([&] { eval::find_texts(root + "/none"); }) == Status::kIo);
  CHECK(test::status_of([&] { eval::find_texts(root + "/empty"); }) == Status::kIo);
}

TEST_CASE("lines as fairseq's preprocessing cuts them") {
  using Lines = std::vector<std::string_view>;
  CHECK(eval::stripped_lines("a b\n\n  c\t \n", false) == Lines{"a b", "c"});
  CHECK(eval::stripped_lines("a b\n\n  c\t \n", true) == Lines{"a b", "", "c"});
  CHECK(eval::stripped_lines("", true).empty());
  CHECK(eval::stripped_lines("\n", true) == Lines{""});
  CHECK(eval::stripped_lines("no end", false) == Lines{"no end"});
  // Only \n ends a line; Python's strip() knows more than ASCII's blanks.
  CHECK(eval::stripped_lines("a\r\nb\x0b" "c\xE2\x80\xA8" "d\n\xC2\x85\xE3\x80\x80" "e\x1f\xC2\xA0\n", false) ==
        Lines{"a", "b\x0b" "c\xE2\x80\xA8" "d", "e"});
  CHECK(eval::stripped_lines("\x1b x \xE2\x80\x8B\n", false) == Lines{"\x1b x \xE2\x80\x8B"});  // neither is white space
  CHECK(eval::stripped_lines(" \xFF \xE2\x80\n", false) == Lines{"\xFF \xE2\x80"});
}
