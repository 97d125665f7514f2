// Runs a text through a tokenizer and back, in every way there is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/expect.h"
#include "text/tokenizer.h"

namespace moiety::test {

// The streaming detokeniser shows what decode() gives, in whole characters.
inline void use_tokenizer(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const std::vector<int32_t> ids = tokenizer->encode(text, {special, special});
    Detokenizer stream(tokenizer, false, false);
    std::string streamed;
    for (const int32_t id : ids) {
      require(id >= 0 && id < tokenizer->size());
      streamed += stream.push(id);
    }
    streamed += stream.flush();
    require(streamed == tokenizer->decode(ids, false));
    tokenizer->decode(ids);
  }
}

// Texts that most steps of a tokenizer have something to do with.
inline void use_tokenizer(const std::shared_ptr<const Tokenizer>& tokenizer) {
  for (const char* text :
       {"", " ", "Hello  world's 12345\r\n\t e\xCC\x81\xF0\x9F\xA6\x99 \xE2\x96\x81x<s></s>", "\xFF\xC3 a"})
    expect_error_only([&] { use_tokenizer(tokenizer, text); });
}

}  // namespace moiety::test
