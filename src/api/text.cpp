#include <algorithm>

#include "api/guard.h"
#include "runtime/fairseq_model.h"
#include "runtime/load.h"
#include "text/chat_template.h"

using namespace moiety::api;

namespace {

// A folder with tokenizer.json, or with fairseq's three files, is enough; anything else is a model's.
std::shared_ptr<const moiety::Tokenizer> load_tokenizer(const std::filesystem::path& path, const std::filesystem::path& vocabulary) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored) && std::filesystem::exists(path / "tokenizer.json", ignored)) {
    return moiety::Tokenizer::from_folder(path);
  }
  if (moiety::has_fairseq_tokenizer(path) && vocabulary.empty()) return moiety::read_fairseq_tokenizer(path);
  auto tokenizer = moiety::read_model(path, vocabulary).tokenizer;
  if (!tokenizer) moiety::fail(moiety::Status::kUnsupported, "{}: no tokenizer", moiety::printable(path.string()));
  return tokenizer;
}

const moiety::Tokenizer& of(const moiety_tokenizer* tokenizer) { return *required(tokenizer, "tokenizer").tokenizer; }

void give(moiety_detokenizer& detokenizer, std::string text, const char** out, size_t* length) {
  required(out, "text"), required(length, "length");
  detokenizer.text = std::move(text);
  *out = detokenizer.text.c_str(), *length = detokenizer.text.size();
}

}  // namespace

moiety_status moiety_tokenizer_load(const char* path, moiety_tokenizer** tokenizer, moiety_error* error) {
  return moiety_tokenizer_load_with(path, nullptr, tokenizer, error);
}

moiety_status moiety_tokenizer_load_with(const char* path, const char* vocabulary, moiety_tokenizer** tokenizer, moiety_error* error) {
  if (tokenizer) *tokenizer = nullptr;
  return guarded(error, [&] {
    required(path, "path"), required(tokenizer, "tokenizer");
    *tokenizer = new moiety_tokenizer{load_tokenizer(path, vocabulary ? vocabulary : "")};
  });
}

moiety_status moiety_model_tokenizer(const moiety_model* model, moiety_tokenizer** tokenizer, moiety_error* error) {
  if (tokenizer) *tokenizer = nullptr;
  return guarded(error, [&] {
    required(tokenizer, "tokenizer");
    const moiety::Model& m = *required(model, "model").model;
    if (!m.tokenizer()) moiety::fail(moiety::Status::kUnsupported, "{}: the model has no tokenizer; give token ids", m.name());
    *tokenizer = new moiety_tokenizer{m.tokenizer()};
  });
}

void moiety_tokenizer_free(moiety_tokenizer* tokenizer) { delete tokenizer; }

moiety_status moiety_tokenize(const moiety_tokenizer* tokenizer, const char* text, size_t length, bool add_special,
                              bool parse_special, int32_t* ids, size_t capacity, size_t* count, moiety_error* error) {
  return guarded(error, [&] {
    if (length > 0) required(text, "text");
    if (capacity > 0) required(ids, "ids");
    required(count, "count");
    const auto all = of(tokenizer).encode({length ? text : "", length}, {add_special, parse_special});
    std::copy_n(all.begin(), std::min(all.size(), capacity), ids);
    *count = all.size();
  });
}

moiety_status moiety_detokenize(const moiety_tokenizer* tokenizer, const int32_t* ids, size_t count, bool skip_special, char* text,
                                size_t capacity, size_t* length, moiety_error* error) {
  return guarded(error, [&] {
    if (count > 0) required(ids, "ids");
    write_text(of(tokenizer).decode({ids, count}, skip_special), text, capacity, length);
  });
}

int32_t moiety_tokenizer_size(const moiety_tokenizer* tokenizer) { return tokenizer ? tokenizer->tokenizer->size() : 0; }

bool moiety_tokenizer_ends(const moiety_tokenizer* tokenizer, int32_t id) {
  return tokenizer && std::ranges::find(tokenizer->tokenizer->end_ids(), id) != tokenizer->tokenizer->end_ids().end();
}

moiety_status moiety_detokenizer_create(const moiety_tokenizer* tokenizer, bool continues, moiety_detokenizer** detokenizer,
                                        moiety_error* error) {
  if (detokenizer) *detokenizer = nullptr;
  return guarded(error, [&] {
    required(detokenizer, "detokenizer");
    *detokenizer = new moiety_detokenizer{moiety::Detokenizer(required(tokenizer, "tokenizer").tokenizer, continues),
                                          tokenizer->tokenizer->size(), {}};
  });
}

moiety_status moiety_detokenizer_push(moiety_detokenizer* detokenizer, int32_t id, const char** text, size_t* length,
                                      moiety_error* error) {
  return guarded(error, [&] {
    required(detokenizer, "detokenizer");
    give(*detokenizer, id >= detokenizer->size ? std::string() : detokenizer->detokenizer.push(id), text, length);
  });
}

moiety_status moiety_detokenizer_flush(moiety_detokenizer* detokenizer, const char** text, size_t* length, moiety_error* error) {
  return guarded(error, [&] { give(required(detokenizer, "detokenizer"), detokenizer->detokenizer.flush(), text, length); });
}

void moiety_detokenizer_free(moiety_detokenizer* detokenizer) { delete detokenizer; }

moiety_status moiety_chat_render(const moiety_tokenizer* tokenizer, const char* chat_template, const moiety_message* messages,
                                 size_t count, bool add_generation, char* text, size_t capacity, size_t* length,
                                 moiety_error* error) {
  return guarded(error, [&] {
    if (count > 0) required(messages, "messages");
    std::vector<moiety::ChatMessage> list;
    for (size_t i = 0; i < count; ++i) {
      list.push_back({&required(messages[i].role, "role"), &required(messages[i].content, "content")});
    }
    const std::string source = chat_template ? chat_template : of(tokenizer).chat_template();
    const auto eos = of(tokenizer).eos();
    const std::string_view eos_text = eos ? of(tokenizer).token_text(*eos) : std::string_view();
    write_text(moiety::render_chat(source, list, add_generation, eos_text), text, capacity, length);
  });
}
