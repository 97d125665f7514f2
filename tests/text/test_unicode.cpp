#include "text/unicode.h"

#include <doctest/doctest.h>

#include "text/normalizer.h"

using namespace moiety::text;

TEST_CASE("characters are decoded as the standard's table of well-formed sequences says") {
  CHECK(decode_char("a", 0).point == 'a');
  CHECK(decode_char("é", 0).point == 0xE9);
  CHECK(decode_char("中", 0).bytes == 3);
  CHECK(decode_char("😀", 0).point == 0x1F600);
  CHECK(decode_char("", 0).bytes == 0);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE4\xB8"}) {
    CAPTURE(bad);
    CHECK(decode_char(bad, 0).point == kInvalid);
    CHECK(decode_char(bad, 0).bytes == 1);
  }
  for (uint32_t c = 0; c < 0x110000; c += 37) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const Char back = decode_char(text, 0);
    REQUIRE(back.point == c);
    REQUIRE(back.bytes == text.size());
    REQUIRE(previous_char("x" + text, text.size() + 1) == 1);
  }
}

TEST_CASE("classes of characters") {
  CHECK(class_of('a') == (kLetter | kLower | kWord));
  CHECK(class_of('\r') == (kSpace | kNewline));
  CHECK(class_of('_') == (kPunctuation | kWord));
  CHECK(class_of('$') == kSymbol);
  CHECK((class_of(0x4E2D) & kOtherLetter) != 0);
  CHECK((class_of(0x01C5) & kUpper) != 0);  // a title case letter
  CHECK((class_of(0x0301) & kMark) != 0);
  CHECK((class_of(0x00BD) & kNumber) != 0);
  CHECK(is_space(0x85));
  CHECK(is_space(0x3000));
  CHECK_FALSE(is_space(0x180E));
  CHECK_FALSE(is_space(0x200B));
  CHECK(class_of(kInvalid) == 0);
  for (uint32_t c = 0; c < 128; ++c) {
    // The ASCII table agrees with the general one: spell out what every character must have.
    const int kinds = ((class_of(c) & kLetter) != 0) + ((class_of(c) & kNumber) != 0) + ((class_of(c) & kSpace) != 0) +
                      ((class_of(c) & kPunctuation) != 0) + ((class_of(c) & kSymbol) != 0);
    CHECK(kinds == (c < 9 || (c > 13 && c < 32) || c == 127 ? 0 : 1));
  }
}

TEST_CASE("incomplete ends and repair") {
  CHECK(complete_prefix("ab") == 2);
  CHECK(complete_prefix("a\xE4\xB8") == 1);
  CHECK(complete_prefix("a\xE4\xB8\xAD") == 4);
  CHECK(complete_prefix("\xF0\x9F\x98") == 0);
  CHECK(complete_prefix("a\xE0\x80") == 3);  // can never become valid
  CHECK(complete_prefix("\x80\x80\x80\x80") == 4);
  CHECK(repair_utf8("a\xE4\xB8") == "a\uFFFD");
  CHECK(repair_utf8("\x80\xFFz") == "\uFFFD\uFFFDz");
  CHECK(repair_utf8("\xF0\x9F\x98\x80") == "😀");
  CHECK(repair_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
}

TEST_CASE("bytes and their printable spelling go both ways") {
  for (int b = 0; b < 256; ++b) CHECK(char_to_byte(byte_to_char(static_cast<uint8_t>(b))) == b);
  CHECK(byte_to_char(' ') == 0x120);
  std::string out = "x";
  CHECK(append_spelled_bytes(out, "Ġa"));
  CHECK(out == "x a");
  CHECK_FALSE(append_spelled_bytes(out, "b c"));
  CHECK(out == "x a");
}

TEST_CASE("normal forms, also of marks in a hostile order") {
  CHECK(normal_form("e\u0301", Form::kNfc) == "\u00E9");
  CHECK(normal_form("\u00E9", Form::kNfd) == "e\u0301");
  CHECK(normal_form("ﬁ²", Form::kNfkc) == "fi2");
  CHECK(normal_form("q\u0307\u0323", Form::kNfc) == "q\u0323\u0307");
  CHECK(normal_form("한", Form::kNfd) == "\u1112\u1161\u11AB");
  CHECK(normal_form("\u1112\u1161\u11AB", Form::kNfc) == "한");
  CHECK(normal_form("a\xFF\u0301", Form::kNfc) == "a\xFF\u0301");  // a broken byte keeps its place
  std::string marks;
  for (int i = 0; i < 200000; ++i) marks += i % 2 ? "\u0323" : "\u0301";  // quadratic where neighbours are swapped
  const std::string sorted = normal_form("a" + marks, Form::kNfd);
  CHECK(sorted.size() == marks.size() + 1);
  CHECK(sorted.substr(1, 2) == "\u0323");
  CHECK(sorted.ends_with("\u0301"));
}
