// BPE on long words, and tokenizers as GGUF describes them.
#include <chrono>
#include <map>

#include <doctest/doctest.h>

#include "text/bpe.h"
#include "text/helpers.h"
#include "text/tokenizer.h"

using namespace moiety;

namespace {

// A vocabulary that owns its texts.
struct Vocabulary {
  std::deque<std::string> texts;
  TokenizerSource source;

  explicit Vocabulary(const char* model) {
    source.origin = "test.gguf";
    source.model = model;
  }
  void token(std::string text, int32_t type = 1, float score = 0) {
    source.tokens.push_back(texts.emplace_back(std::move(text)));
    source.types.push_back(type);
    source.scores.push_back(score);
  }
  void merge(const std::string& left, const std::string& right) { source.merges.push_back(texts.emplace_back(left + " " + right)); }
};

Vocabulary byte_vocabulary() {
  Vocabulary out("gpt2");
  for (int b = 0; b < 256; ++b) {
    std::string spelled;
    text::append_utf8(spelled, text::byte_to_char(static_cast<uint8_t>(b)));
    out.token(spelled);
  }
  return out;
}

Vocabulary piece_vocabulary() {
  Vocabulary out("llama");
  out.token("<unk>", 2);
  out.token("<s>", 3);
  out.token("</s>", 3);
  for (int b = 0; b < 256; ++b) out.token(fmt::format("<0x{:02X}>", b), 6);
  for (const char* piece : {"▁", "h", "e", "l", "o", "▁h", "el", "lo", "hel", "▁hel", "▁hello", "▁▁", "▁▁▁▁"}) {
    out.token(piece, 1, -static_cast<float>(out.texts.size()));
  }
  out.token("<tool>", 4);
  out.source.bos = 1;
  out.source.eos = 2;
  out.source.unk = 0;
  return out;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The definition: again and again the best pair, the leftmost of equals.
std::vector<int32_t> slow_bpe(const text::MergeTable& merges, std::vector<int32_t> ids) {
  for (;;) {
    const text::MergeTable::Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto* merge = merges.find(ids[i], ids[i + 1]);
      if (merge && (!best || merge->rank < best->rank)) best = merge, at = i;
    }
    if (!best) return ids;
    ids[at] = best->id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

}  // namespace

TEST_CASE("both ways of merging give what the definition gives") {
  std::mt19937 rng(7);
  text::Bpe bpe;
  bpe.byte_ids.fill(-1);
  for (int32_t b = 0; b < 4; ++b) bpe.byte_ids[static_cast<size_t>('a' + b)] = b;
  int32_t next = 4;
  std::map<std::pair<int32_t, int32_t>, int32_t> known;
  for (uint32_t rank = 0; rank < 200; ++rank) {
    const std::pair<int32_t, int32_t> pair{static_cast<int32_t>(rng() % static_cast<uint32_t>(next)), static_cast<int32_t>(rng() % static_cast<uint32_t>(next))};
    if (!known.emplace(pair, next).second) continue;
    bpe.merges.put(pair.first, pair.second, {rank, next++});
  }
  bpe.pseudo = next;
  for (size_t length : {1u, 2u, 3u, 10u, 23u, 24u, 25u, 26u, 100u, 500u}) {
    for (int round = 0; round < 50; ++round) {
      std::string word;
      std::vector<int32_t> ids;
      for (size_t i = 0; i < length; ++i) {
        ids.push_back(static_cast<int32_t>(rng() % 4));
        word += static_cast<char>('a' + ids.back());
      }
      text::Bpe::Scratch scratch(0);
      std::vector<int32_t> got;
      bpe.encode(word, got, scratch);
      REQUIRE(got == slow_bpe(bpe.merges, ids));
    }
  }
}

TEST_CASE("a word of 1 MiB on a stack of 256 KiB") {
  Vocabulary vocabulary = byte_vocabulary();
  for (std::string half = "a"; half.size() < 1024; half += half) {
    vocabulary.token(half + half);
    vocabulary.merge(half, half);
  }
  const auto tokenizer = Tokenizer::from_source(vocabulary.source);
  const std::string word(1 << 20, 'a');
  std::vector<int32_t> ids;
  const double seconds = seconds_of([&] { test::on_small_stack([&] { ids = tokenizer->encode(word); }); });
  CHECK(ids == std::vector<int32_t>(1024, tokenizer->find_token(std::string(1024, 'a')).value()));
  CHECK(seconds < 30);  // a quadratic merge takes hours
}

TEST_CASE("1 MiB of each kind of character through whole tokenizers, on a stack of 256 KiB") {
  for (const char* pre : {"gpt-2", "llama-bpe", "gpt-4o", "deepseek-v3", "deepseek-llm"}) {
    Vocabulary vocabulary = byte_vocabulary();
    vocabulary.token("aa");
    vocabulary.merge("a", "a");
    vocabulary.source.pre = pre;
    const auto tokenizer = Tokenizer::from_source(vocabulary.source);
    for (const char* unit : {"A", " ", "\n", "9", "中", "\u0301"}) {
      CAPTURE(pre);
      CAPTURE(unit);
      std::string text;
      while (text.size() < (1u << 20)) text += unit;
      std::string back;
      test::on_small_stack([&] { back = tokenizer->decode(tokenizer->encode(text)); });
      CHECK(back == text);
    }
  }
  const auto pieces = Tokenizer::from_source(piece_vocabulary().source);
  for (const char* unit : {"A", " ", "\n", "9", "中", "\u0301", "hel"}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    std::string back;
    test::on_small_stack([&] { back = pieces->decode(pieces->encode(text)); });
    CHECK(back == text);
  }
}

TEST_CASE("a million merges load and work") {
  Vocabulary vocabulary = byte_vocabulary();
  vocabulary.source.scores.clear();
  std::vector<std::string> all;
  for (int i = 0; i < 26; ++i) all.emplace_back(1, static_cast<char>('a' + i));
  size_t from = 0;
  for (size_t made = 0; made < 1'000'000; ++from) {
    for (int i = 0; i < 26 && made < 1'000'000; ++i, ++made) {
      const std::string left = all[from], right(1, static_cast<char>('a' + i));
      vocabulary.source.tokens.push_back(vocabulary.texts.emplace_back(left + right));
      vocabulary.merge(left, right);
      all.push_back(left + right);
    }
  }
  vocabulary.source.types.clear();
  std::shared_ptr<const Tokenizer> tokenizer;
  const double seconds = seconds_of([&] { tokenizer = Tokenizer::from_source(vocabulary.source); });
  CHECK(tokenizer->size() == 1'000'256);
  CHECK(seconds < 30);
  CHECK(tokenizer->decode(tokenizer->encode("hello there")) == "hello there");
}

TEST_CASE("SentencePiece vocabularies") {
  const auto tokenizer = Tokenizer::from_source(piece_vocabulary().source);
  auto id = [&](const char* text) { return tokenizer->find_token(text).value(); };
  CHECK(tokenizer->encode("hello") == std::vector{id("▁hello")});
  CHECK(tokenizer->encode("hellel") == std::vector{id("▁hel"), id("l"), id("el")});
  CHECK(tokenizer->encode("ohel") == std::vector{id("▁"), id("o"), id("hel")});  // "▁h" has the best score but is not there
  CHECK(tokenizer->encode("hello", {true, false}).front() == 1);
  CHECK(tokenizer->adds_bos());
  CHECK(tokenizer->encode("") == std::vector<int32_t>{});
  CHECK(tokenizer->encode("é") == std::vector{id("▁"), id("<0xC3>"), id("<0xA9>")});
  CHECK(tokenizer->encode("<s>").size() > 1);
  CHECK(tokenizer->encode("<s>h", {false, true}) == std::vector{1, id("▁h")});
  CHECK(tokenizer->encode("h<tool>h") == std::vector{id("▁h"), id("<tool>"), id("▁h")});
  CHECK(tokenizer->decode(tokenizer->encode("  hé llo\n")) == "  hé llo\n");
  const auto ids = tokenizer->encode("hello hello");
  CHECK(tokenizer->decode(ids) == "hello hello");
  Detokenizer stream(std::shared_ptr<const Tokenizer>(tokenizer), true);
  CHECK(stream.push(ids[0]) == " hello");  // it continues a text, so the space stays
}

TEST_CASE("vocabularies that contradict themselves are refused") {
  auto message = [](Vocabulary vocabulary, const std::function<void(TokenizerSource&)>& change) {
    change(vocabulary.source);
    return test::error_of([&] { (void)Tokenizer::from_source(vocabulary.source); });
  };
  auto gpt2 = [] {
    Vocabulary out = byte_vocabulary();
    out.token("aa");
    out.merge("a", "a");
    return out;
  };
  auto has = [](const std::string& text, const char* part) { return text.find("test.gguf") == 0 && text.find(part) != std::string::npos; };
  CHECK(message(gpt2(), [](TokenizerSource&) {}).empty());
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.model = "t5"; }), "'t5' is not supported"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.pre = "new\n"; }), "'new\\x0a' is not known"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.tokens.clear(); }), "no tokens"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.types.pop_back(); }), "token_type"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.scores.push_back(0); }), "scores"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.merges.clear(); }), "merges"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.merges.push_back("x"); }), "merges: [1]"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.merges.push_back("a zzz"); }), "not in the vocabulary"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.bos = 257; }), "bos_token_id"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.eos = 0xFFFFFFFF; }), "eos_token_id"));
  CHECK(has(message(gpt2(), [](TokenizerSource& s) { s.add_bos = true; }), "add_bos_token"));
  CHECK(has(message(piece_vocabulary(), [](TokenizerSource& s) { s.scores.clear(); }), "scores"));
  CHECK(has(message(piece_vocabulary(), [](TokenizerSource& s) { s.scores[9] = NAN; }), "scores"));
  const std::string huge(70000, 'a');
  CHECK(has(message(piece_vocabulary(), [&](TokenizerSource& s) { s.tokens[262] = huge; }), "limit 65536"));
  CHECK(has(message(piece_vocabulary(), [&](TokenizerSource& s) { s.tokens[262] = std::string_view(huge).substr(0, 300); }), "limit 256"));
}
