// Chat templates: a conversation as the prompt that the model was trained on. A template's text is run by our subset of
// Jinja (jinja.h) and gives what transformers gives; what is beyond that subset is refused by name. The usual families
// are built in too, by name, for models that bring no template or one that is refused.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moiety {

struct ChatMessage {
  std::string_view role, content;  // role: "system", "user", "assistant"
};

// The families that are built in: "chatml", "llama2", "llama3", "mistral", "granite", "tulu", "zephyr".
std::vector<std::string_view> chat_template_names();

// The family that a template's markers or name belong to; empty if it is none of ours.
std::string_view recognise_chat_template(std::string_view source);

// source: a template's text or a built-in name. Without BOS (bos_token is empty for the template): tokenise the result
// with add_special and parse_special. eos_token: its text, as templates write it behind answers. add_generation: ends
// where the answer begins. Throws Error kUnsupported (beyond what we render, or no template at all), kInvalidArgument
// (an unknown role of a built-in family, or a conversation that the template itself refuses).
std::string render_chat(std::string_view source, std::span<const ChatMessage> messages, bool add_generation,
                        std::string_view eos_token = {});

}  // namespace moiety
