"""Text to ids and back: encoding, streaming, chat templates."""

from __future__ import annotations

from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.special_tokens import put_around
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

MERGES = ["t h", "Ġ th", "Ġth e"]
VOCABULARY = {
    text: index
    for index, text in enumerate(
        ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *(m.replace(" ", "") for m in MERGES)]
    )
}
BACKEND = byte_level_bpe(VOCABULARY, MERGES, pre="smollm", special=["<s>", "</s>"])
PLAIN = Tokenizer(backend=BACKEND)
TEXTS = st.text() | st.sampled_from(
    [
        "",
        " ",
        "the  the\n\n\tthe",
        "x = 10 ** 2  # ½ ² ٣",
        "naïve 日本語 🙂👩‍👩‍👧",
        "don't 1,234.5",
        "\u200b\ufeff\x00",
    ]
)


@given(TEXTS)
def test_text_survives_the_round_trip(text: str) -> None:
    assert PLAIN.decode(PLAIN.encode(text)) == text


@given(TEXTS)
def test_streamed_pieces_are_the_decoded_text(text: str) -> None:
    ids = PLAIN.encode(text)
    stream = PLAIN.stream()
    pieces = [stream.feed(token) for token in ids]
    assert "".join(pieces) + stream.finish() == PLAIN.decode(ids)


def test_a_character_waits_for_its_last_byte() -> None:
    stream = PLAIN.stream()
    assert [stream.feed(token) for token in PLAIN.encode("a🙂")] == ["a", "", "", "", "🙂"]


def test_unfinished_bytes_show_at_the_end() -> None:
    stream = PLAIN.stream()
    assert [stream.feed(token) for token in PLAIN.encode("🙂")[:2]] == ["", ""]
    assert stream.finish() == "\ufffd"


def test_bos_comes_first_and_special_tokens_stand_whole() -> None:
    tokenizer = with_bos()
    assert tokenizer.encode("th</s>") == [VOCABULARY["<s>"], VOCABULARY["th"], VOCABULARY["</s>"]]
    assert tokenizer.decode(tokenizer.encode("th</s>")) == "th"


def with_bos(**fields: Any) -> Tokenizer:
    """As PLAIN, with <s> before every text."""
    backend = tokenizers.Tokenizer.from_str(BACKEND.to_str())
    put_around(backend, bos=VOCABULARY["<s>"])
    return Tokenizer(backend=backend, **fields)


def chat(template: str) -> str:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = Tokenizer(backend=BACKEND, chat_template=template, special=special)
    return tokenizer.chat([{"role": "user", "content": "the"}])


def test_templates_get_messages_special_tokens_and_loop_controls() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% break %}{% endfor %}{{ eos_token }}"
    )
    assert chat(template) == "<s>the</s>"


@pytest.mark.parametrize(("template", "expected"), [("{{ bos_token }}", 1), ("<s>", 1), ("", 0)])
def test_a_chat_has_the_bos_of_its_template_and_no_other(template: str, expected: int) -> None:
    tokenizer = with_bos(chat_template=template + "{{ messages[0].content }}", special={"bos_token": "<s>"})
    ids = tokenizer.encode(tokenizer.chat([{"role": "user", "content": "the"}]))
    assert ids.count(VOCABULARY["<s>"]) == expected
    assert tokenizer.encode("the").count(VOCABULARY["<s>"]) == 1


def test_templates_ask_for_the_answer() -> None:
    assert chat("{% if add_generation_prompt %}answer:{% endif %}") == "answer:"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{% for %}", "does not accept"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_templates_that_refuse_or_misbehave(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chat(template)


def test_no_template_is_said() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        PLAIN.chat([{"role": "user", "content": "the"}])


@pytest.mark.parametrize(
    ("merges", "special", "pre", "message"),
    [
        (["t h e"], [], "gpt-2", "two tokens"),
        (["t"], [], "gpt-2", "two tokens"),
        (["t zz"], [], "gpt-2", "do not fit"),
        ([], ["<none>"], "gpt-2", "<none>"),
        ([], [], "llama-bpe", "llama-bpe"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    merges: list[str], special: list[str], pre: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        byte_level_bpe(VOCABULARY, merges, pre=pre, special=special)


@given(TEXTS)
def test_gpt2_words_equal_the_librarys_own(text: str) -> None:
    """Against `ByteLevelBPETokenizer`, the library's ready-made GPT-2 tokenizer."""
    merges = [(first, second) for first, _, second in (merge.partition(" ") for merge in MERGES)]
    theirs = tokenizers.ByteLevelBPETokenizer(VOCABULARY, merges)
    assert byte_level_bpe(VOCABULARY, MERGES, pre="gpt-2").encode(text).ids == theirs.encode(text).ids
