#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include <fmt/ranges.h>

#include "core/error.h"
#include "text/jinja.h"

namespace moiety {
namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// A family in which every message is a head with the role and a tail.
struct Family {
  std::string_view name;
  std::string_view before_role, after_role, end, answer_end;  // answer_end: of an assistant's message
};

constexpr std::array kFamilies{
    Family{"chatml", "<|im_start|>", "\n", "<|im_end|>\n", "<|im_end|>\n"},
    Family{"llama3", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "<|eot_id|>"},
    Family{"granite", "<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n", "<|end_of_text|>\n"},
    Family{"tulu", "<|", "|>\n", "\n", "<|endoftext|>\n"},   // OLMoE, OLMo, Tulu
    Family{"zephyr", "<|", "|>\n", "</s>\n", "</s>\n"},
};

std::string render_family(const Family& family, std::span<const ChatMessage> messages, bool add_generation) {
  std::string out;
  const auto head = [&](std::string_view role) { out.append(family.before_role).append(role).append(family.after_role); };
  for (const ChatMessage& message : messages) {
    head(message.role);
    out.append(message.content).append(message.role == "assistant" ? family.answer_end : family.end);
  }
  if (add_generation) head("assistant");
  return out;
}

// [INST] turns: a system message has no turn of its own, it goes into the user's next one.
std::string render_inst(bool llama2, std::span<const ChatMessage> messages) {
  std::string out, system;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      system = llama2 ? fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", message.content) : fmt::format("{}\n\n", message.content);
    } else if (message.role == "user") {
      out += fmt::format("[INST] {}{} [/INST]", system, message.content);
      system.clear();
    } else {
      out += fmt::format(" {}</s>", message.content);
    }
  }
  return out;
}

std::string render_jinja(std::string_view source, std::span<const ChatMessage> messages, bool add_generation,
                         std::string_view eos_token) {
  auto list = std::make_shared<text::JinjaList>();
  for (const ChatMessage& message : messages) {
    list->push_back(std::make_shared<text::JinjaDict>(
        text::JinjaDict{{"role", std::string(message.role)}, {"content", std::string(message.content)}}));
  }
  return text::JinjaTemplate(source).render({{"messages", std::move(list)},
                                             {"add_generation_prompt", add_generation},
                                             {"bos_token", ""},
                                             {"eos_token", std::string(eos_token)}});
}

}  // namespace

std::vector<std::string_view> chat_template_names() {
  std::vector<std::string_view> names{"llama2", "mistral"};
  for (const Family& family : kFamilies) names.push_back(family.name);
  return names;
}

std::string_view recognise_chat_template(std::string_view source) {
  for (std::string_view name : chat_template_names()) {
    if (source == name) return name;
  }
  if (has(source, "<|im_start|>")) return "chatml";
  if (has(source, "<|start_header_id|>")) return "llama3";
  if (has(source, "<|start_of_role|>")) return "granite";
  if (has(source, "[INST]")) return has(source, "<<SYS>>") ? "llama2" : "mistral";
  if (has(source, "<|user|>") && has(source, "<|assistant|>")) {
    // Zephyr ends a user's message with the end token, Tulu with a line end.
    const std::string_view user = source.substr(source.find("<|user|>"));
    const std::string_view message = user.substr(0, user.find("}}"));
    return has(message, "eos_token") || has(message, "</s>") ? "zephyr" : "tulu";
  }
  return {};
}

std::string render_chat(std::string_view source, std::span<const ChatMessage> messages, bool add_generation,
                        std::string_view eos_token) {
  if (has(source, "{%") || has(source, "{{")) return render_jinja(source, messages, add_generation, eos_token);
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      fail(Status::kInvalidArgument, "chat role '{}' is unknown, expected system, user or assistant", printable(message.role));
    }
  }
  if (source.empty()) fail(Status::kUnsupported, "the model has no chat template; name one or use it without a chat");
  const std::string_view name = recognise_chat_template(source);
  if (name.empty()) {
    fail(Status::kUnsupported, "chat template \"{}\" is not one that can be rendered (known: {})", printable(source),
         fmt::join(chat_template_names(), ", "));
  }
  if (name == "llama2" || name == "mistral") return render_inst(name == "llama2", messages);
  return render_family(*std::ranges::find(kFamilies, name, &Family::name), messages, add_generation);
}

}  // namespace moiety
