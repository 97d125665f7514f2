// Builds a tokenizer from fairseq's files: GPT-2's byte-level BPE (encoder.json, vocab.bpe), whose ids stand as decimal
// symbols in dict.txt, in the order of the model's ids behind its four special symbols. Source: fairseq's Dictionary and
// its gpt2 BPE.
#include <charconv>

#include "core/error.h"
#include "text/json.h"
#include "text/pipeline.h"
#include "text/scanners.h"
#include "text/unicode.h"

namespace moiety::text {
namespace {

constexpr int32_t kStart = 0, kPad = 1, kEnd = 2, kUnknown = 3, kSpecials = 4;
constexpr size_t kLongestToken = 64 * 1024;
constexpr int64_t kMaxTokens = 1 << 24;

// Calls line(number, text) for each line, numbers from 1, without its end.
template <class Line>
void each_line(std::string_view text, const Line& line) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.ends_with('\r')) one.remove_suffix(1);
    line(number, one);
  }
}

struct Loader {
  const FairseqVocabulary& source;
  Pipeline& pipeline;
  std::vector<std::string> tokens{};       // GPT-2's, by its ids
  std::vector<int32_t> ids{};              // what each becomes: the model's id, or one from `rows` on for an unknown one
  std::vector<std::string_view> symbols{};  // of dict.txt

  void read_encoder() {
    simdjson::dom::parser parser;
    const Json root = parse_json(parser, source.encoder_json, source.encoder_name);
    const auto object = root.object();
    tokens.resize(object.size());
    std::vector<bool> seen(tokens.size());
    for (const auto& [token, value] : object) {
      const Json number{value, fmt::format("{}: '{}'", source.encoder_name, printable(token))};
      const auto id = static_cast<size_t>(number.integer(0, static_cast<int64_t>(tokens.size()) - 1));
      if (seen[id]) fail(Status::kFormat, "{}: id {} stands twice", source.encoder_name, id);
      if (token.size() > kLongestToken) number.wrong(fmt::format("at most {} bytes", kLongestToken));
      seen[id] = true;
      tokens[id] = token;
    }
  }

  // "SYMBOL COUNT" a line; the symbol may have blanks in it.
  void read_dictionary() {
    TextIndex index;
    each_line(source.dict, [&](size_t number, std::string_view line) {
      while (line.ends_with(' ')) line.remove_suffix(1);
      const size_t space = line.rfind(' ');
      if (space == std::string_view::npos || space == 0)
        fail(Status::kFormat, "{}: line {}: expected a symbol and a count", source.dict_name, number);
      const std::string_view symbol = line.substr(0, space);
      if (kSpecials + symbols.size() >= static_cast<size_t>(source.rows))
        fail(Status::kFormat, "{}: line {}: more symbols than the model has rows, {}", source.dict_name, number, source.rows);
      if (!index.insert(symbol, static_cast<int32_t>(symbols.size())))
        fail(Status::kFormat, "{}: line {}: symbol '{}' stands twice", source.dict_name, number, printable(symbol));
      symbols.push_back(symbol);
    });
    if (symbols.empty()) fail(Status::kFormat, "{}: no symbols", source.dict_name);
  }

  void add_vocab() {
    Vocab& vocab = pipeline.vocab;
    vocab.reserve(static_cast<size_t>(source.rows), 16 * static_cast<size_t>(source.rows));
    pipeline.special.assign(static_cast<size_t>(source.rows), false);
    pipeline.verbatim.assign(static_cast<size_t>(source.rows), true);
    for (const int32_t id : {kStart, kPad, kUnknown}) pipeline.special[static_cast<size_t>(id)] = true;
    for (const char* name : {"<s>", "<pad>", "</s>", "<unk>"}) vocab.add(name, vocab.size());
    ids.assign(tokens.size(), -1);
    for (size_t i = 0; i < symbols.size(); ++i) {
      const auto id = static_cast<int32_t>(kSpecials + i);
      size_t token = tokens.size();
      const char* end = symbols[i].data() + symbols[i].size();
      const auto parsed = std::from_chars(symbols[i].data(), end, token);
      const bool is_token = parsed.ec == std::errc() && parsed.ptr == end && token < tokens.size();
      if (is_token && ids[token] < 0) ids[token] = id;
      vocab.add(is_token ? std::string_view(tokens[token]) : symbols[i], id);
      std::string bytes;
      if (is_token && append_spelled_bytes(bytes, tokens[token])) pipeline.verbatim[static_cast<size_t>(id)] = false;
    }
    vocab.resize(static_cast<size_t>(source.rows));
  }

  void add_bpe() {
    Bpe& bpe = pipeline.bpe;
    bpe.symbols = Bpe::Symbols::kBytes;
    bpe.unk = kUnknown;
    bpe.pseudo = source.rows;  // what dict.txt lacks takes part in merges and becomes <unk> at the end
    TextIndex index;
    index.reserve(tokens.size());
    int32_t hidden = source.rows;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (ids[i] < 0) ids[i] = hidden++;
      index.insert(tokens[i], ids[i]);
    }
    for (uint32_t b = 0; b < 256; ++b) {
      std::string spelled;
      append_utf8(spelled, byte_to_char(static_cast<uint8_t>(b)));
      bpe.byte_ids[b] = index.find(spelled);
    }
    uint32_t rank = 0;
    std::string joined;
    each_line(source.merges, [&](size_t number, std::string_view line) {
      if ((number == 1 && line.starts_with("#version")) || line.empty()) return;
      const size_t space = line.find(' ');
      if (space == 0 || space == std::string_view::npos || space + 1 == line.size())
        fail(Status::kFormat, "{}: line {}: expected two tokens with a space between", source.merges_name, number);
      joined.assign(line.substr(0, space));
      joined += line.substr(space + 1);
      const int32_t left = index.find(line.substr(0, space)), right = index.find(line.substr(space + 1));
      const int32_t both = index.find(joined);
      if (left < 0 || right < 0 || both < 0)
        fail(Status::kFormat, "{}: line {}: '{}' is not in {}", source.merges_name, number, printable(line), source.encoder_name);
      bpe.merges.put_if_better(left, right, {rank++, both});
    });
    PretokenizerStep words;
    words.pattern = make_regex_pattern(scanner_pattern(Scanner::kGpt2), source.merges_name);
    pipeline.pretokenizer.push_back(std::move(words));
    pipeline.decoder.steps.emplace_back().kind = DecoderStep::Kind::kByteLevel;
  }

  void add_specials() {
    pipeline.bos = kEnd, pipeline.eos = kEnd, pipeline.pad = kPad;
    pipeline.prefix = {kEnd};
    if (!source.newline_is_end) return;
    pipeline.newline = kEnd;
    AddedToken newline;
    newline.content = "\n", newline.id = kEnd;
    pipeline.added_tokens.push_back(std::move(newline));
    register_added_tokens(pipeline, source.dict_name);
  }
};

}  // namespace

std::unique_ptr<const Pipeline> load_fairseq(const FairseqVocabulary& source) {
  if (source.rows <= kSpecials || source.rows > kMaxTokens)
    fail(Status::kFormat, "{}: a vocabulary of {} rows", source.dict_name, source.rows);
  auto pipeline = std::make_unique<Pipeline>();
  Loader loader{source, *pipeline};
  loader.read_encoder();
  loader.read_dictionary();
  loader.add_vocab();
  loader.add_bpe();
  loader.add_specials();
  pipeline->finish();
  return pipeline;
}

}  // namespace moiety::text
