#include "formats/pickle.h"
#include "tests/formats/bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

using namespace std::string_literals;

PickleSource source(const std::string& bytes) {
  return {{reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "p.pkl", 0x100};
}

std::string error_of(const std::string& bytes) {
  return format_error([&] { Pickle pickle(source(bytes)); });
}

std::string text(const std::string& value) { return "X" + Bytes().u32(static_cast<uint32_t>(value.size())).raw(value).data; }

}  // namespace

TEST_CASE("values of every kind") {
  const std::string head = "\x80\x02(NK\x07M\x34\x12J\xff\xff\xff\xff\x88\x89G\x3f\xf8\0\0\0\0\0\0"s + text("n\xc3\xa9") +
                           "\x8a\x01\x80\x8a\x09\0\0\0\0\0\0\0\0\1C\x02hi(K\1K\2K\3t]q\0(K\5K\6eh\0}("s + text("k") +
                           "K\1"s + text("k") + "K\2ucos\nsystem\nq\1)"s;
  const std::string bytes = head + "R}"s + text("x") + "K\4sbK\1Ql."s;
  const Pickle pickle(source(bytes));
  CHECK(pickle.length() == bytes.size());
  const PickleValue root = pickle.root();
  REQUIRE(root.kind() == PickleKind::kList);
  REQUIRE(root.count() == 17);
  CHECK(root.at(0).is_none());
  CHECK(root.at(1).integer() == 7);
  CHECK(root.at(2).integer() == 0x1234);
  CHECK(root.at(3).integer() == -1);
  CHECK(root.at(4).boolean() == true);
  CHECK(root.at(5).boolean() == false);
  CHECK(root.at(6).number() == 1.5);
  CHECK(root.at(7).text() == "n\xc3\xa9");
  CHECK(root.at(8).integer() == -128);
  CHECK(root.at(9).kind() == PickleKind::kBigInteger);
  CHECK(root.at(10).raw_bytes() == "hi");
  CHECK(root.at(11).kind() == PickleKind::kTuple);
  CHECK(root.at(11).at(2).integer() == 3);
  CHECK(root.at(12).count() == 2);
  CHECK(root.at(12) == root.at(13));  // one list, seen twice
  CHECK(root.at(14).find("k").integer() == 2);
  CHECK(root.at(15).kind() == PickleKind::kObject);
  CHECK(root.at(15).symbol() == "os.system");
  CHECK(root.at(15).find("x").integer() == 4);
  CHECK(root.at(15).where() == fmt::format("p.pkl @{:#x}", 0x100 + head.size()));
  CHECK(root.at(16).arguments().integer() == 1);
  CHECK(pickle.persistent_count() == 1);
  CHECK_FALSE(root.at(17));
  CHECK(root.at(17).symbol().empty());
  CHECK_FALSE(root.at(1).text());
}

TEST_CASE("protocols 4 and 5: frames, short strings, STACK_GLOBAL, MEMOIZE, sets, NEWOBJ_EX") {
  const std::string bytes =
      "\x80\x05\x95\x20\0\0\0\0\0\0\0(\x8c\x01m\x94\x8c\x01n\x94\x93)\x81h\1\x8f(K\1\x90(K\2\x91h\0h\1\x93)}\x92t."s;
  const Pickle pickle(source(bytes));
  const PickleValue root = pickle.root();
  REQUIRE(root.count() == 5);
  CHECK(root.at(0).symbol() == "m.n");
  CHECK(root.at(1).text() == "n");
  CHECK(root.at(2).count() == 1);
  CHECK(root.at(3).at(0).integer() == 2);
  CHECK(root.at(4).symbol() == "m.n");
}

TEST_CASE("a list that holds itself, values that hold each other") {
  const std::string self = "\x80\x02]q\0h\0a."s;
  const Pickle one(source(self));
  CHECK(one.root().at(0) == one.root());
  const std::string cycle = "\x80\x02}q\0]q\1h\0ah\1."s;  // a dict on the stack below the list that holds it
  CHECK(Pickle(source(cycle)).root().at(0).kind() == PickleKind::kDict);
}

TEST_CASE("cut at every byte") {
  const std::string bytes = "\x80\x02}q\0("s + text("key") + "cmod\nname\nK\1\x85R" + text("n") + "J\1\0\0\0u."s;
  CHECK(Pickle(source(bytes)).root().count() == 4);
  for (size_t n = 0; n < bytes.size(); ++n) {
    CAPTURE(n);
    CHECK(contains(error_of(bytes.substr(0, n)), "p.pkl @0x1"));
  }
}

TEST_CASE("limits: stack, memo, memory, lengths") {
  CHECK(contains(error_of("\x80\x02"s + std::string(1'000'001, '(')), "@0xf4342: pickle: its stack is deeper than 1000000"));
  CHECK(contains(error_of("\x80\x02"s + std::string(1'000'001, 'N')), "its stack is deeper than 1000000"));
  CHECK(contains(error_of("\x80\x02Nr\xff\xff\xff\xff."s), "memo entry 4294967295, limit 10000000"));
  CHECK(contains(error_of("\x80\x02h\5."s), "memo entry 5 is not there"));
  std::string garbage = "\x80\x02"s;
  for (int i = 0; i < 3'000'000; ++i) garbage += "]0";
  CHECK(contains(error_of(garbage), "of memory"));
  CHECK(contains(error_of("\x80\x02X\xff\xff\xff\xffx."s), "it ends within opcode 0x58"));
  CHECK(contains(error_of("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffx."s), "it ends within opcode 0x8d"));
  CHECK(contains(error_of("\x80\x02\x8b\xff\xff\xff\xffx."s), "an integer has the length -1"));
  CHECK(contains(error_of("\x80\x02" "c"s + std::string(2000, 'a') + "\nb\n."), "a symbol's name has no end, or more than"));
}

TEST_CASE("a memo bomb: what doubles in Python stays one value here") {
  std::string bomb = "\x80\x02]"s;
  for (int i = 0; i < 1000; ++i) bomb += "q\0]h\0ah\0a"s;
  const double seconds = cpu_seconds([&] { CHECK(Pickle(source(bomb + ".")).root().count() == 2); });
  CHECK(seconds < 1);
}

TEST_CASE("opcodes on the wrong things") {
  CHECK(contains(error_of("\x80\x02."s), "its stack is empty"));
  CHECK(contains(error_of("\x80\x02(."s), "its stack is empty"));
  CHECK(contains(error_of("\x80\x02t."s), "a MARK is missing"));
  CHECK(contains(error_of("\x80\x02N\x87."s), "its stack is empty"));
  CHECK(contains(error_of("\x80\x02(N\x86."s), "its stack is empty"));
  CHECK(contains(error_of("\x80\x02NNa."s), "items are added to what holds none"));
  CHECK(contains(error_of("\x80\x02](K\1K\2u."s), "items are added to what holds none"));
  CHECK(contains(error_of("\x80\x02}(K\1u."s), "a key has no value"));
  CHECK(contains(error_of("\x80\x02(K\1d."s), "a key has no value"));
  CHECK(contains(error_of("\x80\x02]Nb."s), "BUILD of what is no object"));
  CHECK(contains(error_of("\x80\x02K\1K\2\x93."s), "a symbol's name is no string"));
  CHECK(contains(error_of("\x80\x00N."s), "protocol 0 is not supported"));
  CHECK(contains(error_of("\x80\x06N."s), "protocol 6 is not supported"));
  for (const char op : {'I', 'i', 'o', 'P', 'S', '\x82', '\x97', '\xff'})
    CHECK(contains(error_of("\x80\x02N"s + op), fmt::format("opcode {:#04x} is not supported", static_cast<uint8_t>(op))));
}

TEST_CASE("nothing is called: the canary stays absent") {
  const TempFolder folder;
  const std::string canary = (folder.path / "canary").string();
  const std::string bytes = "\x80\x02" "cos\nsystem\n"s + text("touch " + canary) + "\x85R."s;
  const Pickle pickle(source(bytes));
  CHECK(pickle.root().symbol() == "os.system");
  CHECK(pickle.root().arguments().at(0).text() == "touch " + canary);
  CHECK_FALSE(std::filesystem::exists(canary));
}
