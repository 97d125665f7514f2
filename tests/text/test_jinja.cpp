// Chat templates against what jinja2 renders (make_chat_fixtures.py), and what must be refused.
#include "text/jinja.h"

#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "text/chat_template.h"
#include "text/helpers.h"

using namespace moiety;
using nlohmann::json;

namespace {

std::string render(const std::string& source) {
  const std::vector<ChatMessage> messages{{"user", "hi"}};
  return render_chat(source, messages, true, "</s>");
}

std::string refusal(const std::string& source) {
  return test::error_of([&] { (void)render(source); });
}

bool says(const std::string& message, const char* part) { return message.find("chat template, line") == 0 && message.find(part) != std::string::npos; }

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("templates render as jinja2 renders them") {
  std::ifstream file(MOIETY_SOURCE_DIR "/tests/text/data/chat.json");
  REQUIRE(file.good());
  const json all = json::parse(file);
  REQUIRE(all["cases"].size() >= 36);
  size_t refused = 0;
  for (const auto& one : all["cases"]) {
    const std::string name = one["name"];
    CAPTURE(name);
    std::vector<ChatMessage> messages;
    for (const auto& message : one["messages"]) {
      messages.push_back({message["role"].get_ref<const std::string&>(), message["content"].get_ref<const std::string&>()});
    }
    std::string text;
    const auto message = test::error_of([&] {
      text = render_chat(all["templates"][one["template"].get<std::string>()].get<std::string>(), messages, one["generation"], "</s>");
    });
    if (one["text"].is_null()) {
      ++refused;
      CHECK(message != "");
    } else {
      CHECK(message == "");
      CHECK(text == one["text"].get<std::string>());
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("what is beyond the subset is refused by name") {
  CHECK(says(refusal("a\n{{ strftime_now('%d') }}"), "line 2: the function 'strftime_now'"));
  CHECK(says(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "the statement 'macro'"));
  CHECK(says(refusal("{% include 'x' %}"), "the statement 'include'"));
  CHECK(says(refusal("{{ messages.__class__ }}"), "the attribute '__class__'"));
  CHECK(says(refusal("{{ messages[0]['__globals__'].x }}"), "__globals__"));
  CHECK(says(refusal("{{ raise_exception.__globals__ }}"), "__globals__"));
  CHECK(says(refusal("{{ nothing.member }}"), "the undefined 'nothing'"));
  CHECK(says(refusal("{{ messages | xmlattr }}"), "the filter 'xmlattr'"));
  CHECK(says(refusal("{{ 'x'.format(1) }}"), "the string method 'format'"));
  CHECK(says(refusal("{% set messages.x = 1 %}"), "setting a member of 'messages'"));
  CHECK(says(refusal("{% set ns = namespace() %}{% set ns.self = [ns] %}"), "a namespace as a value"));
  CHECK(refusal("{{ raise_exception('no \n way') }}") == "the chat template refuses: no \\x0a way");
  CHECK(refusal("no template at all").find("not one that can be rendered") != std::string::npos);
  CHECK(refusal("").find("no chat template") != std::string::npos);
}

TEST_CASE("broken templates are errors") {
  for (const char* source : {"{{", "{{ 1 +", "{% if %}", "{% if 1 %}", "{% endif %}", "{% for x %}{% endfor %}", "{# open", "{{ 'open }}", "{{ (1 }}", "{{ [1 }}",
                             "{{ {1:2} }}", "{{ 1 < 2 < 3 }}", "{% set %}", "{{ a.1 }}", "{{ 99999999999999999999 }}", "{{ 1 / 2 }}", "{{ 1 // 0 }}", "{% break %}",
                             "{{ 'a' + 1 }}", "{{ 9223372036854775807 + 1 }}", "{{ -(-9223372036854775807 - 1) // -1 }}", "{{ ``` }}", "{{ messages() }}"}) {
    CAPTURE(source);
    const std::string message = refusal(source);
    if (std::string_view(source) != "{{ -(-9223372036854775807 - 1) // -1 }}") CHECK(message != "");
  }
  // Cut anywhere, a template renders or is refused.
  const std::string whole = "{% for m in messages %}{% if m.role == 'user' and not loop.last %}{{ m['content'][1:] | trim }}{% elif x %}{{- y -}}{% endif %}{% endfor %}";
  for (size_t n = 0; n <= whole.size(); ++n) (void)refusal("{{" + whole.substr(n));
  for (size_t n = 0; n <= whole.size(); ++n) (void)refusal(whole.substr(0, n));
}

TEST_CASE("depth, steps and output are limited, on a stack of 256 KiB") {
  test::on_small_stack([] {
    CHECK(refusal("{{ " + repeat("(", 60) + "1" + repeat(")", 60) + " }}") == "");
    for (const std::string open : {"(", "[", "not ", "- ", "x[", "f("}) {
      CAPTURE(open);
      const std::string message = refusal("{{ " + repeat(open, 50000) + "1 }}");
      CAPTURE(message);
      CHECK(says(message, "64 levels"));
    }
    for (const std::string link : {" + 1", " ~ 'a'", " and 1", " or 0", " * 1", " | trim", ".a", " if 1 else 2"}) {
      CAPTURE(link);
      CHECK(refusal("{{ 1" + repeat(link, 50000) + " }}") != "");
    }
    CHECK(says(refusal("{{ " + repeat("{'a':", 50000) + "1" + repeat("}", 50000) + " }}"), "64 levels"));
    CHECK(says(refusal(repeat("{% if 1 %}", 1000)), "64 levels"));
    CHECK(says(refusal(repeat("{% for a in [1] %}", 1000)), "64 levels"));
    CHECK(says(refusal("{% for a in range(25000) %}{% for b in range(25000) %}{% endfor %}{% endfor %}"), "steps"));
    CHECK(says(refusal("{{ range(25001) }}"), "range"));
    CHECK(says(refusal("{{ range(1000000000) | length }}"), "range"));
    CHECK(says(refusal("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"), "a string of more than"));
    const std::string big = "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(18) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
    for (const char* use : {"ns.x | trim", "ns.x[1:]", "ns.x == ns.x ~ 'b'", "'b' in ns.x", "ns.x.split('a')"}) {
      CAPTURE(use);
      const std::string loops = "{% for i in range(25000) %}{% for j in range(25000) %}";
      CHECK(says(refusal(big + loops + "{% set y = " + use + " %}{% endfor %}{% endfor %}"), "steps"));
    }
    CHECK(says(refusal("{% set x = 'a' ~ messages[0].content %}{% for i in range(20000) %}{{ '" + repeat("0123456789", 100) + "' }}{% endfor %}"), "output"));
  });
}

TEST_CASE("built-in families go by name") {
  const std::vector<ChatMessage> messages{{"system", "s"}, {"user", "u"}};
  CHECK(render_chat("chatml", messages, true) == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
  CHECK(recognise_chat_template("{{ '<|start_header_id|>' }}") == "llama3");
}
