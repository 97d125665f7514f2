#include "core/error.h"

#include <doctest/doctest.h>

using moiety::printable;

TEST_CASE("printable escapes control bytes and broken UTF-8 and cuts long names") {
  CHECK(printable("blk.0.weight") == "blk.0.weight");
  CHECK(printable(std::string_view("a\0b\n", 4)) == "a\\x00b\\x0a");
  CHECK(printable("\xff\xc3\xa9") == "\\xff\xc3\xa9");
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable(std::string(500, 'x')) == std::string(128, 'x') + "...");
}

TEST_CASE("fail throws its status and message") {
  try {
    moiety::fail(moiety::Status::kFormat, "{} @{:#x}", "file", 26);
    FAIL("fail returned");
  } catch (const moiety::Error& error) {
    CHECK(error.status() == moiety::Status::kFormat);
    CHECK(std::string(error.what()) == "file @0x1a");
  }
}
