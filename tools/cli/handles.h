// The C API for C++: owners, and errors as exceptions. Only moiety.h.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "moiety.h"

namespace cli {

struct Failure : std::runtime_error {
  Failure(moiety_status code, const std::string& message) : std::runtime_error(message), status(code) {}
  moiety_status status;
};
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(moiety_status status, const moiety_error& error) {
  if (status != MOIETY_OK) throw Failure(status, error.message);
}

// call([](moiety_error* e) { return moiety_x(.., e); })
template <class F>
void call(const F& f) {
  moiety_error error;
  check(f(&error), error);
}

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* p) const { kFree(p); }
};
using ModelPtr = std::unique_ptr<moiety_model, Free<moiety_model_free>>;
using TokenizerPtr = std::unique_ptr<moiety_tokenizer, Free<moiety_tokenizer_free>>;
using DetokenizerPtr = std::unique_ptr<moiety_detokenizer, Free<moiety_detokenizer_free>>;
using SessionPtr = std::unique_ptr<moiety_session, Free<moiety_session_free>>;
using CancelPtr = std::unique_ptr<moiety_cancel, Free<moiety_cancel_free>>;

// A text of a function (char*, capacity, length*, error*): asks for the size, then for the text.
template <class F>
std::string text_of(const F& f) {
  size_t length = 0;
  call([&](moiety_error* e) { return f(nullptr, 0, &length, e); });
  std::string text(length + 1, 0);
  call([&](moiety_error* e) { return f(text.data(), text.size(), &length, e); });
  text.resize(length);
  return text;
}

inline std::string model_text(const moiety_model* model, moiety_text which) {
  return text_of([&](char* t, size_t n, size_t* l, moiety_error* e) { return moiety_model_text(model, which, t, n, l, e); });
}

inline moiety_model_info model_info(const moiety_model* model) {
  moiety_model_info info{};
  info.struct_size = sizeof info;
  call([&](moiety_error* e) { return moiety_model_get_info(model, &info, e); });
  return info;
}

inline TokenizerPtr tokenizer_of(const moiety_model* model) {
  moiety_tokenizer* tokenizer = nullptr;
  call([&](moiety_error* e) { return moiety_model_tokenizer(model, &tokenizer, e); });
  return TokenizerPtr(tokenizer);
}

inline std::vector<int32_t> tokenize(const moiety_tokenizer* tokenizer, std::string_view text, bool add_special, bool parse_special) {
  std::vector<int32_t> ids(text.size() + 16);  // seldom more ids than bytes
  for (;;) {
    size_t count = 0;
    call([&](moiety_error* e) {
      return moiety_tokenize(tokenizer, text.data(), text.size(), add_special, parse_special, ids.data(), ids.size(), &count, e);
    });
    const bool fits = count <= ids.size();
    ids.resize(count);
    if (fits) return ids;
  }
}

inline SessionPtr make_session(moiety_model* model, const moiety_sampling* sampling = nullptr) {
  moiety_session* session = nullptr;
  call([&](moiety_error* e) { return moiety_session_create(model, sampling, 0, &session, e); });
  return SessionPtr(session);
}

}  // namespace cli
