#include "text/chat_template.h"

#include <doctest/doctest.h>

#include "core/error.h"

using namespace moiety;

namespace {

const std::vector<ChatMessage> kTalk{{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}};

Status status_of(std::string_view source, const std::vector<ChatMessage>& messages) {
  try {
    (void)render_chat(source, messages, true);
  } catch (const Error& error) {
    return error.status();
  }
  return Status::kOk;
}

}  // namespace

TEST_CASE("each family renders a conversation as its models were trained on") {
  CHECK(render_chat("chatml", kTalk, true) ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  CHECK(render_chat("llama3", kTalk, false) ==
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>");
  CHECK(render_chat("granite", std::span(kTalk).first(2), true) ==
        "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>");
  CHECK(render_chat("tulu", std::span(kTalk).subspan(1), true) == "<|user|>\nHi\n<|assistant|>\nHello<|endoftext|>\n<|user|>\nBye\n<|assistant|>\n");
  CHECK(render_chat("mistral", kTalk, true) == "[INST] Be brief.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]");
  CHECK(render_chat("llama2", std::span(kTalk).first(2), true) == "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]");
}

TEST_CASE("a template is recognised by the markers it writes") {
  CHECK(recognise_chat_template("{% for m in messages %}{{ '<|im_start|>' + m.role }}{% endfor %}") == "chatml");
  CHECK(recognise_chat_template("{{ '<|start_header_id|>' }}") == "llama3");
  CHECK(recognise_chat_template("{{ '<|user|>\\n' }}{{ '<|assistant|>\\n' }}{{ eos_token }}") == "tulu");
  CHECK(recognise_chat_template("{{ '<|user|>\\n' + m.content + eos_token }}{{ '<|assistant|>' }}") == "zephyr");
  CHECK(recognise_chat_template("[INST] <<SYS>>") == "llama2");
  CHECK(recognise_chat_template("{{ messages }}").empty());
}

TEST_CASE("what can't be rendered is refused") {
  CHECK(status_of("", kTalk) == Status::kUnsupported);
  CHECK(status_of("{{ messages }}", kTalk) == Status::kUnsupported);
  CHECK(status_of("chatml", {{"tool", "x"}}) == Status::kInvalidArgument);
  // A template that states today's date by itself: only with a system prompt of the user's.
  const std::string dated = "{% if messages[0].role != 'system' %}{{ strftime_now('%B') }}{% endif %}";
  CHECK(status_of(dated, {{"user", "Hi"}}) == Status::kUnsupported);
  CHECK(status_of(dated, {{"system", "x"}, {"user", "Hi"}}) == Status::kOk);
}
