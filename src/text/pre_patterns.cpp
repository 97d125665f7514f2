#include "text/pre_patterns.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "text/scanners.h"

namespace moiety::text {

namespace {

// Cased letters, as deepseek-llm's tokenizer.json lists them. Escapes stand where an editor might normalize.
constexpr std::string_view kDeepSeekLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\\x{1f5f}-\\x{1f7d}ᾀ-ᾴᾶ-ᾼ\\x{1fbe}ῂ-ῄῆ-ῌῐ-\\x{1fd3}ῖ-\\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-"
    "ℓℕℙ-ℝℤ\\x{2126}ℨ\\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⲳⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
constexpr std::string_view kDeepSeekPunctuation = "\\s?[!-/:-~！-／：-～‘-‟　-。]+";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBloom = " ?[^(\\s|.,!?…。，、।۔،)]+";

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

PreTokenizer find_pre_tokenizer(std::string_view name, std::string_view architecture, const std::string& origin) {
  const auto gpt2 = scanner_pattern(Scanner::kGpt2);
  const auto number = scanner_pattern(Scanner::kNumber);
  if (name.empty()) {
    if (one_of(architecture, {"gpt2", "gptneox", "olmo", "olmoe", "granite", "granitemoe", "mpt"})) return {{gpt2}};
    name = "default";
  }
  if (name == "default") {
    return {{scanner_pattern(Scanner::kAsciiPunctuation), gpt2, scanner_pattern(Scanner::kNumberRun), scanner_pattern(Scanner::kThreeDigits)}};
  }
  if (one_of(name, {"gpt-2", "gpt2", "gpt-neox", "olmo", "phi-2", "mpt", "jais", "trillion", "granite", "granite-docling", "exaone4",
                    "gigachat", "a.x-4.0", "mellum", "modern-bert", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"})) {
    return {{gpt2}};
  }
  if (one_of(name, {"refact", "starcoder", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"})) return {{number, gpt2}};
  if (one_of(name, {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "midm-2.0"})) {
    return {{scanner_pattern(Scanner::kLlama3)}, true, true};
  }
  if (one_of(name, {"dbrx", "smaug-bpe", "chatglm-bpe", "glm4"})) return {{scanner_pattern(Scanner::kLlama3)}};
  if (one_of(name, {"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "kormo", "solar-open", "grok-2"})) {
    return {{scanner_pattern(Scanner::kQwen2)}};
  }
  if (name == "qwen35") return {{kQwen35}};
  if (one_of(name, {"gpt-4o", "llama4", "minimax-m2", "o200k"})) return {{scanner_pattern(Scanner::kGpt4o)}};
  if (name == "tekken") return {{kTekken}, true, true};
  if (one_of(name, {"deepseek-v3", "hunyuan-dense", "joyai-llm"})) {
    return {{scanner_pattern(Scanner::kNumbers1To3), scanner_pattern(Scanner::kCjkKana), scanner_pattern(Scanner::kDeepSeek3)}};
  }
  const auto newline = scanner_pattern(Scanner::kNewline);
  const auto cjk = scanner_pattern(Scanner::kCjkHangul);
  if (name == "deepseek-llm") {
    return {{newline, kDeepSeekLetters, kDeepSeekPunctuation, scanner_pattern(Scanner::kTrailingSpace), cjk, scanner_pattern(Scanner::kNumberRun)}};
  }
  if (name == "deepseek-coder") return {{newline, "\\s?\\p{L}+", "\\s?\\p{P}+", cjk, number}};
  if (one_of(name, {"bailingmoe", "bailingmoe2", "llada-moe"})) return {{kBailing}};
  if (name == "seed-coder") return {{kSeedCoder}};
  if (one_of(name, {"bloom", "gpt3-finnish", "poro-chat"})) return {{kBloom}};
  if (name == "viking") return {{kBloom, number}};
  if (name == "falcon") return {{"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2, scanner_pattern(Scanner::kThreeDigits)}};
  fail(Status::kUnsupported, "{}: tokenizer.ggml.pre '{}' is not known", origin, printable(name));
}

}  // namespace moiety::text
