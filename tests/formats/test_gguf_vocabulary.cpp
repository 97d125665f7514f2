#include <limits>

#include "formats/gguf_vocabulary.h"
#include "tests/formats/gguf_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

struct Vocabulary {
  GgufBytes bytes;
  Vocabulary(const std::vector<std::string>& tokens, size_t scores, size_t types) {
    bytes.key("tokenizer.ggml.model", kTypeString).string("llama");
    bytes.strings("tokenizer.ggml.tokens", tokens);
    bytes.key("tokenizer.ggml.scores", kTypeArray).u32(kTypeF32).u64(scores);
    for (size_t i = 0; i < scores; ++i) bytes.metadata.number(-static_cast<float>(i));
    bytes.key("tokenizer.ggml.token_type", kTypeArray).u32(5).u64(types);
    for (size_t i = 0; i < types; ++i) bytes.metadata.number<int32_t>(1);
  }
  GgufVocabulary check() const {
    const TempFolder folder;
    const GgufFile file = open_gguf(folder.put("v.gguf", bytes.build()));
    return check_gguf_vocabulary(file.metadata);  // only sizes and numbers are looked at once the mapping is gone
  }
  std::string error() const {
    return format_error([&] { check(); });
  }
};

}  // namespace

TEST_CASE("a good vocabulary is handed out") {
  Vocabulary v({"<s>", "</s>", "a"}, 3, 3);
  v.bytes.u32("tokenizer.ggml.bos_token_id", 0).u32("tokenizer.ggml.eos_token_id", 1);
  v.bytes.u32("tokenizer.ggml.padding_token_id", UINT32_MAX).u32("tokenizer.ggml.unknown_token_id", 2);
  const GgufVocabulary out = v.check();
  CHECK(out.tokens.size() == 3);
  CHECK(out.scores == std::vector<float>{-0.0f, -1, -2});
  CHECK(out.types == std::vector<int32_t>{1, 1, 1});
  CHECK(out.bos == 0u);
  CHECK(out.eos == 1u);
  CHECK(out.unknown == 2u);
  CHECK(!out.padding);
}

TEST_CASE("scores and types are as long as the tokens") {
  CHECK(contains(Vocabulary({"a", "b"}, 1, 2).error(),
                 "key 'tokenizer.ggml.scores': has 1 values, but there are 2 tokens"));
  CHECK(contains(Vocabulary({"a", "b"}, 3, 2).error(), "has 3 values"));
  CHECK(contains(Vocabulary({"a", "b"}, 2, 1).error(), "key 'tokenizer.ggml.token_type': has 1 values"));
  CHECK(contains(Vocabulary({}, 0, 0).error(), "key 'tokenizer.ggml.tokens': is empty"));
}

TEST_CASE("ids of bos and eos lie in the vocabulary") {
  for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
    for (uint32_t id : {2u, 0x7FFFFFFFu, UINT32_MAX}) {
      Vocabulary v({"a", "b"}, 2, 2);
      v.bytes.u32(key, id);
      CHECK(contains(v.error(), "but there are 2 tokens"));
    }
  }
}

TEST_CASE("a token has at most 64 KiB, a score is finite, a type is a small number") {
  Vocabulary({"a", std::string(65536, 'x')}, 2, 2).check();
  CHECK(contains(Vocabulary({"a", std::string(65537, 'x')}, 2, 2).error(), "token 1 has 65537 bytes, limit 65536"));
  Vocabulary v({"a"}, 0, 1);
  v.bytes.metadata.data.clear();
  v.bytes.keys = 0;
  v.bytes.key("tokenizer.ggml.model", kTypeString).string("llama");
  v.bytes.strings("tokenizer.ggml.tokens", {"a"});
  Vocabulary types = v;
  v.bytes.key("tokenizer.ggml.scores", kTypeArray).u32(kTypeF32).u64(1).number(std::numeric_limits<float>::quiet_NaN());
  CHECK(contains(v.error(), "the score of token 0 is nan"));
  types.bytes.key("tokenizer.ggml.token_type", kTypeArray).u32(5).u64(1).number<int32_t>(-1);
  CHECK(contains(types.error(), "token 0 has the type -1"));
}
