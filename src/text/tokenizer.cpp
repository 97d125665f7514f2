#include "text/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "core/mapped_file.h"
#include "text/pipeline.h"
#include "text/unicode.h"

namespace moiety {

using text::Pipeline;

namespace {

std::string_view view_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), static_cast<size_t>(file.size())};
}

void check_id(int32_t id, int32_t size) {
  if (id < 0 || id >= size) fail(Status::kInvalidArgument, "token id {}: expected 0 <= id < {}", id, size);
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Pipeline> pipeline) : pipeline_(std::move(pipeline)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::from_json(const TokenizerFiles& files) {
  return std::shared_ptr<const Tokenizer>(new Tokenizer(text::load_json(files)));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_source(const TokenizerSource& source) {
  return std::shared_ptr<const Tokenizer>(new Tokenizer(text::load_source(source)));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_fairseq(const FairseqVocabulary& source) {
  return std::shared_ptr<const Tokenizer>(new Tokenizer(text::load_fairseq(source)));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_folder(const std::filesystem::path& folder) {
  std::vector<MappedFile> mapped;
  mapped.reserve(5);
  auto read = [&](const char* name, bool needed) -> std::string_view {
    const auto path = folder / name;
    std::error_code error;
    if (!needed && !std::filesystem::exists(path, error)) return {};
    return view_of(mapped.emplace_back(path));
  };
  TokenizerFiles files;
  files.origin = (folder / "tokenizer.json").string();
  files.tokenizer_json = read("tokenizer.json", true);
  files.tokenizer_config_json = read("tokenizer_config.json", false);
  files.generation_config_json = read("generation_config.json", false);
  files.config_json = read("config.json", false);
  files.chat_template_jinja = read("chat_template.jinja", false);
  return from_json(files);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  return pipeline_->encode(text, options);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  // Borrowed: the detokeniser does not outlive this call.
  Detokenizer stream(std::shared_ptr<const Tokenizer>(std::shared_ptr<void>(), this), false, skip_special);
  std::string out;
  for (const int32_t id : ids) out += stream.push(id);
  return out + stream.flush();
}

int32_t Tokenizer::size() const { return pipeline_->vocab.size(); }

std::string_view Tokenizer::token_text(int32_t id) const {
  check_id(id, size());
  return pipeline_->vocab.text(id);
}

std::string Tokenizer::token_bytes(int32_t id) const {
  check_id(id, size());
  return pipeline_->piece(id, false);
}

std::optional<int32_t> Tokenizer::find_token(std::string_view text) const {
  const int32_t id = pipeline_->vocab.find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_special(int32_t id) const {
  check_id(id, size());
  return pipeline_->special[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::bos() const { return pipeline_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return pipeline_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return pipeline_->pad; }
std::span<const int32_t> Tokenizer::end_ids() const { return pipeline_->end_ids; }
bool Tokenizer::ends(int32_t id) const {
  return std::binary_search(pipeline_->end_ids.begin(), pipeline_->end_ids.end(), id);
}
bool Tokenizer::adds_bos() const {
  return pipeline_->bos && !pipeline_->prefix.empty() && pipeline_->prefix.front() == *pipeline_->bos;
}
bool Tokenizer::newline_is_end() const { return pipeline_->newline && pipeline_->newline == pipeline_->eos; }
const std::string& Tokenizer::chat_template() const { return pipeline_->chat_template; }

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool continues, bool skip_special)
    : tokenizer_(std::move(tokenizer)), continues_(continues), skip_special_(skip_special) {}

std::string Detokenizer::push(int32_t id) {
  check_id(id, tokenizer_->size());
  const Pipeline& pipeline = *tokenizer_->pipeline_;
  if (skip_special_ && pipeline.special[static_cast<size_t>(id)]) return {};
  pending_ += pipeline.piece(id, first_ && !continues_);
  first_ = false;
  return take(false);
}

std::string Detokenizer::flush() {
  std::string out = take(true);
  first_ = true;
  stripped_ = 0;
  stripping_ = true;
  return out;
}

std::string Detokenizer::take(bool all) {
  const text::Decoder& decoder = tokenizer_->pipeline_->decoder;
  const std::string& strip = decoder.strip_char;
  if (stripping_ && !continues_ && decoder.strip_start > 0) {
    while (stripped_ < decoder.strip_start && pending_.starts_with(strip)) {
      pending_.erase(0, strip.size());
      ++stripped_;
    }
    // Bytes that may still become the character wait.
    if (!all && stripped_ < decoder.strip_start && strip.starts_with(pending_)) return {};
  }
  size_t end = all ? pending_.size() : text::complete_prefix(pending_);
  if (end > 0) stripping_ = false;
  if (decoder.strip_stop > 0) {
    // The last characters go if nothing follows them, so they wait.
    size_t n = 0;
    while (n < decoder.strip_stop && end >= strip.size() && std::string_view(pending_).substr(0, end).ends_with(strip)) {
      end -= strip.size();
      ++n;
    }
    if (all) pending_.resize(end);
  }
  std::string out = text::repair_utf8(std::string_view(pending_).substr(0, end));
  pending_.erase(0, end);
  return out;
}

}  // namespace moiety
