"""Chat templates in the style of well-known models, rendered as `transformers` renders them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import transformers

from mpcinfer.chat_template import ChatText, render
from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from parties.errors import ConfigError
from tests.mpcinfer.models.tokenizer_folders import json_folder, llama3_json

CHATML = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% generation %}
{{- message['content'] }}{% endgeneration %}{{ '<|im_end|>' + '\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- if messages[0]['role'] == 'system' %}
    {%- set ns.system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- '<h>system</h>\n\nToday: ' + strftime_now('%d %b %Y') + '\n' + ns.system + eos_token }}
{%- if tools is not none %}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- '\n\n' }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<h>ipython</h>' + (message.content | tojson) }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception('one call at a time') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- {'name': call.name, 'parameters': call.arguments} | tojson }}
    {%- else %}
        {{- '<h>' + message['role'] + '</h>\n\n' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {% endif %}
    {% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"""
MISTRAL = """{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list -%}
{{ bos_token }}{% for message in messages -%}
    {%- if message['role'] == 'user' -%}
        {%- if tools is not none and message == user_messages[-1] -%}
            {{ '[AVAILABLE_TOOLS] [' }}{% for tool in tools %}{% set tool = tool.function %}
            {%- for key, value in tool.items() if key != 'return' %}{{ '"' + key + '": ' + value | tojson }}
            {%- if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}{% endfor %}{{ '][/AVAILABLE_TOOLS]' }}
        {%- endif -%}
        {{ '[INST] ' + message['content'] + '[/INST]' }}
    {%- elif message['content'] is defined -%}
        {{ ' ' + message['content'] + eos_token }}
    {%- else -%}{%- break -%}
    {%- endif -%}
{%- endfor -%}"""
QWEN = """{%- if tools %}
    {{- '<|im_start|>system\n# Tools\n<tools>' }}
    {%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" and message.reasoning_content is defined %}
        {{- '<think>' + message.reasoning_content.strip('\n') + '</think>' + content.lstrip('\n') }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {%- set given = call.function.arguments %}
            {{- given if given is string else given | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""
COMMAND = """{% for document in documents or [] %}
[{{ loop.index0 }}] {{ document.title }}: {{ document['text'] }}
{% endfor %}{{ unk_token }}{{ pad_token }}{{ dict(a=1) | tojson(sort_keys=true) }}
{{ messages[-1].content }}"""
TEMPLATES = {
    "chatml": CHATML,
    "llama-3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "qwen": QWEN,
    "command": COMMAND,
}
CALL = {
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich <b>&'\"", "days": 2}},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "It's <wet> & cold in \u00e9t\u00e9",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
USER = {"role": "user", "content": " <b>What's</b> 2 & 2, \u00e9?\n"}
CHATS: dict[str, list[dict[str, Any]]] = {
    "one": [USER],
    "system": [{"role": "system", "content": "Be brief. "}, USER],
    "turns": [USER, {"role": "assistant", "content": "4"}, USER],
    "null content": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    "tool": [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [CALL], "thinking": "\nhm\n"},
        {"role": "tool", "content": "21 \u00b0C"},
        {"role": "tool", "content": '{"a": "<b>"}'},
    ],
    "control tokens": [{"role": "user", "content": "<|im_end|><s>"}],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"add_generation_prompt": True},
    "no prompt": {"add_generation_prompt": False},
    "tools": {"tools": TOOLS, "add_generation_prompt": True},
    "documents": {"documents": [{"title": "A & B", "text": "<x>"}], "add_generation_prompt": True},
    "thinking": {"enable_thinking": False, "add_generation_prompt": True},
    "own bos": {"bos_token": "[B]", "add_generation_prompt": True},
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_and_ids_equal_transformers(name: str, tmp_path: Path) -> None:
    folder = json_folder(tmp_path, llama3_json, **SPECIAL)
    (folder / "chat_template.jinja").write_text(TEMPLATES[name])
    ours = load_huggingface_tokenizer(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    refused = 0
    for chat in CHATS.values():
        for options in OPTIONS.values():
            try:
                expected = theirs.apply_chat_template(chat, tokenize=False, **options)
            except Exception:
                refused += 1
                with pytest.raises(ConfigError):
                    ours.chat(chat, **options)
                continue
            assert ours.chat(chat, **options) == expected
            ids = theirs.apply_chat_template(chat, tokenize=True, return_dict=False, **options)
            assert ours.encode(ours.chat(chat, **options)) == ids
    print(f"| {name:8} | {len(CHATS) * len(OPTIONS)} | {refused} refused by both | 0 |")
    assert refused < len(CHATS) * len(OPTIONS) / 2


def test_named_templates_are_chosen_as_transformers_chooses(tmp_path: Path) -> None:
    named = {"default": "plain", "tool_use": "tools {{ tools | length }}", "rag": "rag"}
    listed = [{"name": name, "template": template} for name, template in named.items()]
    folders = [json_folder(tmp_path / "config", llama3_json, chat_template=listed)]
    folders.append(json_folder(tmp_path / "files", llama3_json, chat_template="not this"))
    (folders[1] / "chat_template.jinja").write_text(named.pop("default"))
    (folders[1] / "additional_chat_templates").mkdir()
    for name, template in named.items():
        (folders[1] / "additional_chat_templates" / f"{name}.jinja").write_text(template)
    for folder in folders:
        ours = load_huggingface_tokenizer(folder)
        theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
        assert ours.chat([USER]) == theirs.apply_chat_template([USER], tokenize=False) == "plain"
        expected = theirs.apply_chat_template([USER], tools=TOOLS, tokenize=False)
        assert ours.chat([USER], tools=TOOLS) == expected == "tools 1"
        assert ours.chat([USER], template="rag") == "rag"
        assert ours.chat([USER], template="default", tools=TOOLS) == "plain"
        with pytest.raises(ConfigError, match=r"no chat template 'other'; there are \['rag', 'tool_use'\]"):
            ours.chat([USER], template="other")


def made(template: str, *, tools: Any = None, **variables: Any) -> str:
    return render(
        template, [USER], tools=tools, documents=None, add_generation_prompt=True, variables=variables
    )


def test_dates_are_todays() -> None:
    assert made("{{ strftime_now('%Y-%m-%d') }}") == datetime.datetime.now().strftime("%Y-%m-%d")


def test_names_in_generation_blocks_stay_there() -> None:
    assert made("{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}") == "21"


def test_what_is_rendered_knows_that_it_is() -> None:
    assert type(made("a")) is ChatText


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% set ns = namespace(_x=1) %}", "underscore"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "underscore"),
        ("{{ dict.__class__.__mro__ }}", "unsafe"),
        ("{{ messages[0].content + 1 }}", "does not accept"),
        ("{{ messages[9].content.x }}", "does not accept"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{% generation %}", "does not accept"),
    ],
)
def test_templates_that_misbehave_or_refuse(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(template)


def test_values_that_are_not_json_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tools of a chat must be JSON values, got function; .*schemas"):
        made("{{ tools }}", tools=[{"function": made}])
    with pytest.raises(ConfigError, match="image of a chat"):
        made("{{ image }}", image=object())


def test_a_conversation_has_messages() -> None:
    with pytest.raises(ConfigError, match="without messages"):
        render("", [], tools=None, documents=None, add_generation_prompt=True, variables={})
