// Chat templates: a conversation as the prompt that the model was trained on. Templates are Jinja programs; this is no
// Jinja: a template is recognised by the markers it writes and rendered by our own code for that family. What is not
// recognised is refused.
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

// The family of a template's text or name; empty if it is none of ours.
std::string_view recognise_chat_template(std::string_view source);

// Without BOS: tokenise the result with add_special and parse_special. add_generation: ends where the answer begins.
// Throws Error kUnsupported (a template that is not ours, or none at all), kInvalidArgument (an unknown role).
std::string render_chat(std::string_view source, std::span<const ChatMessage> messages, bool add_generation);

}  // namespace moiety
