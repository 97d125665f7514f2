// A chat template over two short conversations.
#include <string_view>

#include "tests/fuzz/expect.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const ChatMessage talk[] = {{"system", "Be brief."},
                              {"user", " Hi {{ 1 }} \xF0\x9F\xA6\x99\n"},
                              {"assistant", "Yes?"},
                              {"user", "<|im_end|>"}};
  for (const bool generate : {true, false}) {
    expect_error_only([&] { render_chat(source, talk, generate, "</s>"); });
    expect_error_only([&] { render_chat(source, {talk + 1, 1}, generate); });
  }
  return 0;
}
