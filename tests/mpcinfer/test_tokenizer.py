"""Text to ids and back: encoding, streaming, chat templates."""

from __future__ import annotations

from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.sentencepiece import sentencepiece_tokenizer
from mpcinfer.models.sentencepiece_file import read_sentencepiece
from mpcinfer.models.special_tokens import put_around
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError
from tests.mpcinfer.models.tokenizer_folders import HERE

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


LLAMA = Tokenizer(
    backend=sentencepiece_tokenizer(read_sentencepiece(HERE / "sentencepiece" / "bpe.model").model)
)


def test_an_answer_keeps_the_space_that_a_text_would_lose() -> None:
    prompt, answer = LLAMA.encode("the"), LLAMA.encode("the cat")[-2:]
    assert LLAMA.decode(answer) == "cat"
    assert LLAMA.decode_after(prompt, answer) == " cat"
    stream = LLAMA.stream(prompt)
    pieces = [stream.feed(token) for token in answer]
    assert "".join(pieces) + stream.finish() == " cat"


@pytest.mark.parametrize("tokenizer", [PLAIN, LLAMA], ids=["byte level", "sentencepiece"])
@given(TEXTS, TEXTS)
def test_an_answer_after_its_prompt_is_the_rest_of_the_whole(
    tokenizer: Tokenizer, first: str, second: str
) -> None:
    prompt, ids = tokenizer.encode(first), tokenizer.encode(second)
    answer = tokenizer.decode_after(prompt, ids)
    assert tokenizer.decode(prompt) + answer == tokenizer.decode([*prompt, *ids])
    stream = tokenizer.stream(prompt)
    pieces = [stream.feed(token) for token in ids]
    assert "".join(pieces) + stream.finish() == answer == stream.text


def test_an_answer_may_complete_a_character_of_its_prompt() -> None:
    ids = PLAIN.encode("a🙂b")
    assert PLAIN.decode_after(ids[:3], ids[3:]) == "🙂b"


@given(st.lists(st.sampled_from(["a", ".", "'", "n't", "'s", "b", "!"]), max_size=12))
def test_streams_wait_for_spaces_that_may_go(words: list[str]) -> None:
    vocabulary = {text: i for i, text in enumerate(["[UNK]", "a", ".", "'", "n't", "'s", "b", "!"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer = Tokenizer(backend=backend, clean_up=True)
    ids = [vocabulary[word] for word in words]
    stream = tokenizer.stream()
    pieces = [stream.feed(token) for token in ids]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids)


def test_spaces_before_punctuation_go_where_asked() -> None:
    vocabulary = {text: i for i, text in enumerate(["do", "n't", "go", "!"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="go"))
    assert Tokenizer(backend=backend).decode([0, 1, 2, 3]) == "do n't go !"
    assert Tokenizer(backend=backend, clean_up=True).decode([0, 1, 2, 3]) == "don't go!"


@pytest.mark.parametrize(
    ("text", "said"), [("for \udcff", "byte 0xff after 4"), ("\ud800", r"U\+D800 after 0")]
)
def test_texts_that_are_not_unicode_are_refused(text: str, said: str) -> None:
    for encode in (PLAIN.encode, lambda text: PLAIN.encode_pair("a", text)):
        with pytest.raises(ConfigError, match=f"not UTF-8: {said} characters"):
            encode(text)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    tokenizer = Tokenizer(backend=BACKEND, vocabulary=VOCABULARY["the"[:2]])
    with pytest.raises(ConfigError, match=r"token \d+ \(th\) is outside the model's vocabulary"):
        tokenizer.encode("th")
    with pytest.raises(ConfigError, match="token 9999 is outside"):
        tokenizer.decode([9999])
    for wrong in (-1, 1 << 32):
        with pytest.raises(ConfigError, match=f"token {wrong} is outside"):
            PLAIN.decode([0, wrong])


def test_ids_that_no_token_has_give_no_text() -> None:
    assert Tokenizer(backend=BACKEND, vocabulary=9999).decode([VOCABULARY["th"], 9998]) == "th"


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
