"""Tokenizers of GGUF files against `transformers`' and SentencePiece's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

from mpcinfer.models.gguf_tokenizer import gguf_tokenizer
from mpcinfer.models.sentencepiece import PieceType, sentencepiece_tokenizer
from mpcinfer.models.sentencepiece_file import read_sentencepiece
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError
from tests.mpcinfer.models.tokenizer_folders import HERE, SPECIAL, byte_level, texts

PIECES = read_sentencepiece(HERE / "sentencepiece" / "bpe.model").model.pieces


def made(**fields: Any) -> Tokenizer:
    """A tokenizer of fields under `tokenizer.ggml`, or under `tokenizer` with a name in full."""
    named = {key if "." in key else f"tokenizer.ggml.{key}": value for key, value in fields.items()}
    return gguf_tokenizer(SimpleNamespace(path=Path("m.gguf"), fields=named))


def byte_level_fields(pre: str) -> dict[str, Any]:
    vocabulary, merges = byte_level()
    tokens = [*vocabulary, *SPECIAL]
    types = [PieceType.NORMAL] * len(vocabulary) + [PieceType.CONTROL] * len(SPECIAL)
    types[-1] = PieceType.USER_DEFINED
    return {"model": "gpt2", "pre": pre, "tokens": tokens, "token_type": [*map(int, types)], "merges": merges}


def sentencepiece_fields() -> dict[str, Any]:
    return {
        "model": "llama",
        "pre": "default",
        "tokens": [piece.text for piece in PIECES],
        "scores": [piece.score for piece in PIECES],
        "token_type": [int(piece.type) for piece in PIECES],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }


def theirs(fields: dict[str, Any]) -> Any:
    names = {"model": "tokenizer_type", "pre": "pre_tokenizer_type"}
    return convert_gguf_tokenizer("llama", {names.get(key, key): value for key, value in fields.items()})[0]


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o"])
def test_byte_level_ids_and_texts_equal_transformers(pre: str) -> None:
    fields = byte_level_fields(pre)
    ours, other = made(**fields, add_bos_token=False), theirs(fields)
    differences = 0
    for text in texts():
        ids = other.encode(text, add_special_tokens=False).ids
        differences += ours.encode(text) != ids or ours.decode(ids) != other.decode(ids)
    print(f"| GGUF {pre:21} | {len(texts())} | {differences} |")
    assert not differences


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", "ab|Ġ1234|$=!|Ġ`=!"),
        ("smollm", "ab|Ġ|1|2|3|4|$=!|Ġ`=!"),
        ("default", "ab|Ġ|123|4|$=!|Ġ`|=!"),
        ("falcon", "ab|Ġ|123|4|$=!|Ġ|`=!"),
        ("qwen2", "ab|Ġ|1|2|3|4|$=!|Ġ`=!"),
        ("llama-bpe", "ab|Ġ|123|4|$=!|Ġ`=!"),
    ],
)
def test_words_are_cut_as_llama_cpp_cuts_them(pre: str, words: str) -> None:
    cut = made(**byte_level_fields(pre)).backend.pre_tokenizer
    assert [word for word, _ in cut.pre_tokenize_str("ab 1234$=! `=!")] == words.split("|")


@pytest.mark.parametrize(("pre", "adds"), [("llama-bpe", True), ("tekken", True), ("qwen2", False)])
def test_bos_stands_before_texts_as_llama_cpp_has_it(pre: str, adds: bool) -> None:
    fields = {**byte_level_fields(pre), "bos_token_id": 901}
    assert made(**fields).prefix == ((901,) if adds else ())
    assert made(**fields, add_bos_token=not adds).prefix == (() if adds else (901,))
    both = made(**fields, add_bos_token=True, add_eos_token=True, eos_token_id=902)
    assert (both.prefix, both.suffix) == ((901,), (902,))


def test_a_word_that_is_a_token_is_not_merged_anew() -> None:
    fields = byte_level_fields("llama-bpe")
    whole = len(fields["tokens"])
    fields["tokens"] = [*fields["tokens"], "Ġunreachable"]
    fields["token_type"] = [*fields["token_type"], 1]
    assert made(**fields).encode(" unreachable") == [whole]
    assert made(**{**fields, "pre": "dbrx"}).encode(" unreachable") != [whole]


def test_sentencepiece_ids_and_texts_equal_its_own_file() -> None:
    backend = sentencepiece_tokenizer(read_sentencepiece(HERE / "sentencepiece" / "bpe.model").model)
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    ours = made(**sentencepiece_fields())
    for text in texts():
        ids = [1, *backend.encode(text).ids]
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == backend.decode(ids), text
    assert ours.special == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert ours.stop == {2}


def test_sentencepiece_ids_equal_transformers_but_for_spaces_in_front() -> None:
    """`transformers` puts a space before a text only where it begins with none, never after special ones."""
    ours, other = made(**sentencepiece_fields(), add_bos_token=False), theirs(sentencepiece_fields())
    compared = 0
    for text in texts():
        if not text.startswith((" ", "▁")) and not any(each in text for each in ("<unk>", "<s>", "</s>")):
            assert ours.encode(text) == other.encode(text, add_special_tokens=False).ids, text
            compared += 1
    assert compared > 300


def test_user_defined_tokens_stand_whole_and_show() -> None:
    fields = sentencepiece_fields()
    fields |= {
        "tokens": [*fields["tokens"], "<tool>", " " * 9],
        "scores": [*fields["scores"], 0.0, 0.0],
        "token_type": [*fields["token_type"], 4, 4],
    }
    ours = made(**fields)
    first = len(PIECES)
    assert first in ours.encode("a<tool>b")
    assert ours.decode(ours.encode("a<tool>")) == "a<tool>"
    assert ours.backend.id_to_token(first + 1) == "▁" * 9


def test_templates_by_name() -> None:
    fields = {
        "tokenizer.chat_template": "plain",
        "tokenizer.chat_templates": ["tool_use"],
        "tokenizer.chat_template.tool_use": "tools",
    }
    ours = made(**byte_level_fields("gpt-2"), **fields)
    assert ours.chat([{"role": "user", "content": ""}]) == "plain"
    assert ours.chat([{"role": "user", "content": ""}], tools=[]) == "tools"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "bert"}, "tokenizer.ggml.model is 'bert'; supported are"),
        ({"model": "t5"}, "'t5'"),
        ({"pre": "deepseek-llm"}, "tokenizer.ggml.pre is 'deepseek-llm', which is not supported; known are"),
        ({"add_space_prefix": True}, "add_space_prefix"),
        ({"add_bos_token": 1}, "add_bos_token is 1, expected bool"),
        ({"add_eos_token": True}, "add_eos_token without"),
        ({"token_type": [9] * 908}, "token_type has 9"),
        ({"tokens": [1]}, "tokens is no list of str"),
        ({"merges": "a b"}, "merges is no list"),
        ({"tokenizer.chat_template": 3}, "chat_template is no text"),
        ({"eos_token_id": 908}, "outside the vocabulary of 908"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**{**byte_level_fields("gpt-2"), **change})


@pytest.mark.parametrize("missing", ["model", "pre", "tokens", "merges"])
def test_what_is_missing_is_named(missing: str) -> None:
    fields = byte_level_fields("gpt-2")
    del fields[missing]
    with pytest.raises(ConfigError, match=f"no field tokenizer.ggml.{missing}"):
        made(**fields)
