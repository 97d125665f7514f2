// fairseq's dictionary over GPT-2's BPE. The second half takes the ids that fairseq itself gave for two texts from the
// folder MOIETY_FAIRSEQ_DATA (default: ../shared/data/fairseq); without it the test reports itself as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tokenizer.h"

using namespace moiety;

namespace {

namespace fs = std::filesystem;

fs::path data_folder() {
  const char* given = std::getenv("MOIETY_FAIRSEQ_DATA");
  return given ? fs::path(given) : fs::path(MOIETY_SOURCE_DIR) / ".." / "shared" / "data" / "fairseq";
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// a b c ab abc Ġ; b is in no dictionary below
constexpr const char* kEncoder = R"({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "\u0120": 5, "\u0120a": 6, "\u010a": 7})";
constexpr const char* kMerges = "#version: 0.2\na b\nab c\n\u0120 a\n";

FairseqVocabulary small(std::string_view dict, int32_t rows = 16) {
  FairseqVocabulary source;
  source.dict = dict, source.encoder_json = kEncoder, source.merges = kMerges, source.rows = rows;
  return source;
}

std::string error_of(const FairseqVocabulary& source) {
  try {
    Tokenizer::from_fairseq(source);
  } catch (const Error& error) {
    CHECK(error.status() == Status::kFormat);
    return error.what();
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

using Ids = std::vector<int32_t>;

// The lines of Python's splitlines().
std::vector<std::string> python_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    for (const std::string_view end : {"\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"}) {
      if (length == 0 && text.compare(at, end.size(), end) == 0) length = end.size();
    }
    if (length > 0) lines.emplace_back();
    else lines.back() += text[at];
    at += std::max<size_t>(length, 1);
  }
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

TEST_CASE("ids are the dictionary's; merges go through tokens that it lacks; the rest is one <unk> a token") {
  const auto t = Tokenizer::from_fairseq(small("4 9\n0 8\n5 7\n2 7\nmadeupword0000 0\n"));
  CHECK(t->size() == 16);
  CHECK(t->encode("abc") == Ids{4});
  CHECK(t->encode("ab") == Ids{3});
  CHECK(t->encode("bab a") == Ids{3, 3, 3});
  CHECK(t->encode("a\nc\n\n") == Ids{5, 2, 7, 2, 2});
  CHECK(t->encode("a</s>") == Ids{5, 3, 3, 3, 3});
  CHECK(t->encode("a", {.add_special = true}) == Ids{2, 5});
  CHECK(t->decode(Ids{4, 2, 5, 6, 7, 3, 1, 8, 15}) == "abc\na c" + std::string("madeupword0000"));
  CHECK(t->token_text(2) == "</s>");
  CHECK(t->token_text(15).empty());
  CHECK(t->eos() == 2);
  CHECK(t->pad() == 1);
  CHECK(t->newline_is_end());
  FairseqVocabulary kept = small("7 1\n0 1\n");
  kept.newline_is_end = false;
  CHECK(Tokenizer::from_fairseq(kept)->encode("a\n") == Ids{5, 4});
  CHECK_FALSE(Tokenizer::from_fairseq(kept)->newline_is_end());
}

TEST_CASE("broken files are told by file and line") {
  CHECK(has(error_of(small("")), "dict.txt: no symbols"));
  CHECK(has(error_of(small("0 1\n5\n")), "dict.txt: line 2: expected a symbol and a count"));
  CHECK(has(error_of(small("0 1\n0 2\n")), "dict.txt: line 2: symbol '0' stands twice"));
  CHECK(has(error_of(small("0 1\n1 2\n", 5)), "dict.txt: line 2: more symbols than the model has rows, 5"));
  CHECK(has(error_of(small("0 1\n", 3)), "a vocabulary of 3 rows"));
  FairseqVocabulary source = small("0 1\n");
  source.merges = "a b\na  x\n";
  CHECK(has(error_of(source), "vocab.bpe: line 2"));
  source.merges = "a c\n";
  CHECK(has(error_of(source), "vocab.bpe: line 1: 'a c' is not in encoder.json"));
  source.merges = kMerges;
  source.encoder_json = R"({"a": 0, "b": 0})";
  CHECK(has(error_of(source), "encoder.json: id 0 stands twice"));
  source.encoder_json = R"({"a": 9})";
  CHECK(has(error_of(source), "expected an integer from 0 to 0"));
}

TEST_CASE("fairseq's own ids, on every path") {
  if (!fs::exists(data_folder())) return;
  const fs::path folder = data_folder() / "text";
  const nlohmann::json tokens = nlohmann::json::parse(read(folder / "tokens.json"));
  const std::string encoder = read(folder / "encoder.json"), merges = read(folder / "vocab.bpe");
  for (const char* name : {"dict.txt", "dict_short.txt"}) {
    const std::string dict = read(folder / name);
    FairseqVocabulary source;
    source.dict = dict, source.encoder_json = encoder, source.merges = merges, source.rows = 320;
    const auto t = Tokenizer::from_fairseq(source);
    source.newline_is_end = false;
    const auto kept = Tokenizer::from_fairseq(source);
    // GPT-2's ids: a dictionary that has them in order.
    std::string order;
    for (int i = 0; i < 307; ++i) order += std::to_string(i) + " 1\n";
    source.dict = order;
    const auto gpt2 = Tokenizer::from_fairseq(source);
    const auto line = [&](const std::string& text) {
      Ids ids = t->encode(text);
      ids.push_back(2);
      return ids;
    };
    for (const char* file : {"sample.txt", "tricky.txt"}) {
      CAPTURE(file);
      const std::string text = read(folder / file);
      const auto& expected = tokens.at(file);
      std::vector<Ids> hub;
      for (const std::string& one : python_lines(text)) hub.push_back(line(one));
      CHECK(hub == expected.at("hub_lines").get<std::vector<Ids>>());
      Ids whole = kept->encode(text);
      whole.push_back(2);
      CHECK(whole == expected.at("hub_newline_not_replaced").get<Ids>());
      Ids raw = gpt2->encode(text);
      for (int32_t& id : raw) id -= 4;
      CHECK(raw == expected.at("gpt2_ids_whole_text").get<Ids>());
      const auto stripped = expected.at("preprocess_lines").get<std::vector<Ids>>();
      size_t at = 0, seen = 0;
      for (; at < text.size() && seen < stripped.size(); ++seen) {
        const size_t end = std::min(text.find('\n', at), text.size());
        std::string one = text.substr(at, end - at);
        const char* blanks = " \t\r\v\f";
        one.erase(0, std::min(one.find_first_not_of(blanks), one.size()));
        one.erase(one.find_last_not_of(blanks) + 1);
        CHECK(line(one) == stripped[seen]);
        at = end + 1;
      }
      CHECK(seen == stripped.size());
      const auto unknown = [](const Ids& ids) { return std::ranges::find(ids, 3) != ids.end(); };
      if (const Ids ids = t->encode(text); !unknown(ids)) CHECK(t->decode(ids) == text);
    }
  }
}

int main(int argc, char** argv) {
  const bool skipped = !fs::exists(data_folder());
  const int code = doctest::Context(argc, argv).run();
  if (skipped) std::printf("SKIP: no fairseq data in %s\n", data_folder().c_str());
  return code == 0 && skipped ? 77 : code;
}
