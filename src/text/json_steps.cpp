#include "text/json_steps.h"

#include "text/unicode.h"

namespace moiety::text {

namespace {

[[noreturn]] void refuse(const Json& json, std::string_view type) {
  fail(Status::kUnsupported, "{}: the type '{}' is not supported", json.where, printable(type));
}

// {"String": ...} or {"Regex": ...}; an empty string or pattern would match everywhere.
Pattern read_pattern(const Json& json) {
  if (const auto literal = json.find("String")) {
    if (literal->string().empty()) fail(Status::kUnsupported, "{}: an empty string", literal->where);
    return std::string(literal->string());
  }
  const Json regex = json.need("Regex");
  return make_regex_pattern(regex.string(), regex.where);
}

Behavior read_behavior(const Json& json) {
  const auto name = json.string();
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  fail(Status::kFormat, "{}: unknown behavior '{}'", json.where, printable(name));
}

std::string read_character(const Json& json) {
  const auto text = json.string();
  if (text.empty() || decode_char(text, 0).bytes != text.size()) json.wrong("one character");
  return std::string(text);
}

// Visits a step, or each step of a Sequence, in order. The document's depth is limited, so this recursion is.
template <class Visit>
void for_each_step(const Json& json, std::string_view list, Visit visit) {
  const auto type = json.need("type").string();
  if (type != "Sequence") return visit(json, type);
  const Json steps = json.need(list);
  size_t i = 0;
  for (const auto element : steps.array()) for_each_step(steps.item(element, i++), list, visit);
}

NormalizerStep normalizer_step(const Json& json, std::string_view type) {
  using Kind = NormalizerStep::Kind;
  NormalizerStep step;
  auto form = [&](Form which) {
    step.kind = Kind::kForm;
    step.form = which;
  };
  if (type == "NFC") {
    form(Form::kNfc);
  } else if (type == "NFD") {
    form(Form::kNfd);
  } else if (type == "NFKC") {
    form(Form::kNfkc);
  } else if (type == "NFKD") {
    form(Form::kNfkd);
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    step.left = json.need("strip_left").boolean();
    step.right = json.need("strip_right").boolean();
  } else if (type == "StripAccents") {
    step.kind = Kind::kStripAccents;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    step.content = json.need("prepend").string();
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    step.pattern = read_pattern(json.need("pattern"));
    step.content = json.need("content").string();
  } else if (type == "Nmt") {
    step.kind = Kind::kNmt;
  } else if (type == "ByteLevel") {
    step.kind = Kind::kByteLevel;
  } else {
    refuse(json, type);
  }
  return step;
}

PretokenizerStep split_step(Pattern pattern, Behavior behavior, bool invert = false) {
  PretokenizerStep step;
  step.pattern = std::move(pattern);
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

PretokenizerStep metaspace_step(const Json& json) {
  PretokenizerStep step;
  step.kind = PretokenizerStep::Kind::kMetaspace;
  step.replacement = read_character(json.need("replacement"));
  const auto scheme = json.string_or("prepend_scheme", "always");
  if (scheme == "always") step.prepend = PretokenizerStep::Prepend::kAlways;
  else if (scheme == "first") step.prepend = PretokenizerStep::Prepend::kFirst;
  else if (scheme == "never") step.prepend = PretokenizerStep::Prepend::kNever;
  else fail(Status::kFormat, "{}.prepend_scheme: unknown scheme '{}'", json.where, printable(scheme));
  if (!json.flag("add_prefix_space", true)) step.prepend = PretokenizerStep::Prepend::kNever;  // the older spelling
  step.split = json.flag("split", true);
  return step;
}

void add_pretokenizer(const Json& json, std::string_view type, std::vector<PretokenizerStep>& steps) {
  if (type == "ByteLevel") {
    auto& step = steps.emplace_back();
    step.kind = PretokenizerStep::Kind::kByteLevel;
    step.add_prefix_space = json.flag("add_prefix_space", true);
    step.use_regex = json.flag("use_regex", true);
  } else if (type == "Split") {
    steps.push_back(split_step(read_pattern(json.need("pattern")), read_behavior(json.need("behavior")), json.flag("invert", false)));
  } else if (type == "Digits") {
    steps.push_back(split_step(json.flag("individual_digits", false) ? Scanner::kNumber : Scanner::kNumberRun, Behavior::kIsolated));
  } else if (type == "Punctuation") {
    const auto behavior = json.find("behavior");
    steps.push_back(split_step(CharTest::kPunctuation, behavior ? read_behavior(*behavior) : Behavior::kIsolated));
  } else if (type == "Whitespace") {
    steps.push_back(split_step(WordRuns{}, Behavior::kRemoved, true));
  } else if (type == "WhitespaceSplit") {
    steps.push_back(split_step(CharTest::kSpace, Behavior::kRemoved));
  } else if (type == "BertPreTokenizer") {
    steps.push_back(split_step(CharTest::kSpace, Behavior::kRemoved));
    steps.push_back(split_step(CharTest::kPunctuation, Behavior::kIsolated));
  } else if (type == "CharDelimiterSplit") {
    steps.push_back(split_step(read_character(json.need("delimiter")), Behavior::kRemoved));
  } else if (type == "Metaspace") {
    steps.push_back(metaspace_step(json));
  } else {
    refuse(json, type);
  }
}

// Steps after the tokens are joined see the whole text, which a stream does not have.
void add_late_decoder(const Json& json, std::string_view type, Decoder& decoder) {
  if (type == "Fuse") return;
  if (type == "Strip") {
    if (decoder.strip_start || decoder.strip_stop) fail(Status::kUnsupported, "{}: a second Strip after Fuse", json.where);
    decoder.strip_char = read_character(json.need("content"));
    decoder.strip_start = static_cast<size_t>(json.need("start").integer(0, 1 << 20));
    decoder.strip_stop = static_cast<size_t>(json.need("stop").integer(0, 1 << 20));
    return;
  }
  if (type == "Replace") {
    auto& step = decoder.steps.emplace_back();
    step.kind = DecoderStep::Kind::kReplace;
    step.pattern = read_pattern(json.need("pattern"));
    step.content = json.need("content").string();
    const auto* literal = std::get_if<std::string>(&step.pattern);
    // One character never spans tokens; anything longer might.
    if (literal && decode_char(*literal, 0).bytes == literal->size() && !decoder.strip_start && !decoder.strip_stop) return;
  }
  fail(Status::kUnsupported, "{}: '{}' after the tokens are joined is not supported", json.where, printable(type));
}

void add_decoder(const Json& json, std::string_view type, Decoder& decoder, bool& joined) {
  if (joined) return add_late_decoder(json, type, decoder);
  if (type == "Fuse") {
    joined = true;
    return;
  }
  DecoderStep step;
  if (type == "ByteLevel") {
    step.kind = DecoderStep::Kind::kByteLevel;
    joined = true;
  } else if (type == "ByteFallback") {
    step.kind = DecoderStep::Kind::kByteFallback;
  } else if (type == "Metaspace") {
    const auto metaspace = metaspace_step(json);
    step.kind = DecoderStep::Kind::kMetaspace;
    step.replacement = metaspace.replacement;
    step.drops_first = metaspace.prepend != PretokenizerStep::Prepend::kNever;
  } else if (type == "Replace") {
    step.kind = DecoderStep::Kind::kReplace;
    step.pattern = read_pattern(json.need("pattern"));
    step.content = json.need("content").string();
  } else if (type == "Strip") {
    step.kind = DecoderStep::Kind::kStrip;
    step.content = read_character(json.need("content"));
    step.start = static_cast<size_t>(json.need("start").integer(0, 1 << 20));
    step.stop = static_cast<size_t>(json.need("stop").integer(0, 1 << 20));
  } else {
    refuse(json, type);
  }
  decoder.steps.push_back(std::move(step));
}

}  // namespace

void read_normalizer(const Json& json, std::vector<NormalizerStep>& steps) {
  for_each_step(json, "normalizers", [&](const Json& step, std::string_view type) { steps.push_back(normalizer_step(step, type)); });
}

void read_pretokenizer(const Json& json, std::vector<PretokenizerStep>& steps) {
  for_each_step(json, "pretokenizers", [&](const Json& step, std::string_view type) { add_pretokenizer(step, type, steps); });
}

void read_decoder(const Json& json, Decoder& decoder) {
  bool joined = false;
  for_each_step(json, "decoders", [&](const Json& step, std::string_view type) { add_decoder(step, type, decoder, joined); });
}

}  // namespace moiety::text
