#!/usr/bin/env python3
"""Makes tests/text/data/chat.json: chat templates with what jinja2 renders, set up as transformers sets it up.

    make_chat_fixtures.py [granite's tokenizer_config.json] > tests/text/data/chat.json

The templates are written for this test in the manner of the models they are named after; Granite's comes from its file.
"""
import json
import sys

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATES = {
    "chatml": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' }}"
              "{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
              "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
              "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "mixtral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('conversation roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
""",
    "olmoe": "{{ bos_token }}{% for message in messages %}\n{% if message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] }}\n"
             "{% elif message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] }}\n{% elif message['role'] == 'assistant' %}\n"
             "{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "qwen3": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and reasoning_content %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}{{- 'calls' }}{%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "many things": """{# a comment #}
  {% set d = {'a': [1, -2, true, none, "q\\"\\n\\u00e9"], 'b': {}} %}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson }}
{% for k, v in d.items() %}{{ k }}={{ v | length }}{{ ", " if not loop.last else "." }}{% endfor %}

  {%+ if 1 + 2 * 3 == 7 and not 7 // 2 != 3 %}yes{% else %}no{% endif %}
   {%- for x in range(2, 9, 3) if x != 5 %} {{ x ~ ":" ~ loop.length ~ loop.first }}{% else %} none{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% set block %}[{{ messages | map(attribute='role') | join('|') }}]{% endset %}{{ block | upper }}
{{ (messages | selectattr('role', 'equalto', 'user') | list)[-1].content[:3] }} {{ missing | default('dflt') }} {{ missing }}
{{ "héllo"[1:4] }} {{ "abc"[::-1] }} {{ [1,2,3][-2:] | join(",") }} {{ "a,b,,c".split(",") | length }} {{ " x y ".split() | join("+") }}
{{ 'x' in 'xyz' }} {{ 'q' not in ['q'] }} {{ 3 is odd }} {{ messages is iterable }} {{ messages is mapping }} {{ none is none }}
{{- "it's".title() }} {{ "some WORDS" | capitalize }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 'b' > 'a' }} {{ true + 1 if false else 'cond' }}
{{ messages[0].get('nope', 'fallback') }} {{ 'a' 'b' }} {{ ("x" if false) }}|{{ [3,4] | first }}{{ [3,4] | last }} {{ "aXbX" | replace("X", "--") }}
tail
""",
}
CONVERSATIONS = {
    "one question": [("user", "What is 2 + 2?")],
    "with a system message": [("system", "Be brief.\n"), ("user", "Hi  "), ("assistant", "<think>\nhm\n</think>\n\nHello! ÄÖ"), ("user", "\n Tell \"me\" more 🦙")],
    "roles out of order": [("user", "a"), ("user", "b"), ("assistant", "c")],
}


def main():
    class Refused(Exception):
        pass

    def refuse(message):
        raise Refused(message)

    if len(sys.argv) > 1:
        TEMPLATES["granite"] = json.load(open(sys.argv[1]))["chat_template"]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda x, ensure_ascii=False, indent=None: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent)
    environment.globals["raise_exception"] = refuse
    out = []
    for name, source in TEMPLATES.items():
        for title, conversation in CONVERSATIONS.items():
            for generation in (False, True):
                messages = [{"role": r, "content": c} for r, c in conversation]
                try:
                    text = environment.from_string(source).render(messages=messages, add_generation_prompt=generation, bos_token="", eos_token="</s>")
                except Exception as problem:  # what the template refuses, or calls without having it
                    text = None
                    assert isinstance(problem, Refused) or "strftime_now" in str(problem), problem
                out.append({"name": f"{name}: {title}", "template": name, "messages": messages, "generation": generation, "text": text})
    json.dump({"templates": TEMPLATES, "cases": out}, sys.stdout, ensure_ascii=True, indent=0)
    print()


main()
