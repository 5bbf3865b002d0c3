"""The tokenizer of a GGUF file: byte-level BPE (`gpt2`) or SentencePiece's BPE (`llama`).

Source: llama.cpp, whose format it is. Where `transformers` reads such a file otherwise, llama.cpp counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import tokenizers

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.pre_tokenizers import gguf_pre
from mpcinfer.models.sentencepiece import Piece, PieceType, SentencePieceModel, sentencepiece_tokenizer
from mpcinfer.models.special_tokens import add_token, put_around
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

T = TypeVar("T", int, float, str, bool)
# What ends an answer in chat models whose file names only one end token.
_END_TEXTS = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>"})
_NAMES = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "pad_token": "padding",
    "sep_token": "seperator",  # as the format spells it
    "mask_token": "mask",
}


@runtime_checkable
class GgufFields(Protocol):
    """An open file: where it is, and its fields by key."""

    path: Path

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields as int, float, bool, str or lists of those."""
        ...


def gguf_tokenizer(file: GgufFields) -> Tokenizer:
    """A tokenizer from a file's vocabulary, merges or scores, and token types.

    Raises:
        ConfigError: another kind of tokenizer, a pre-tokeniser that we do not know, or parts that do not fit.
    """
    return _File(file.path.name, file.fields).tokenizer()


class _File:
    def __init__(self, source: str, fields: Mapping[str, Any]) -> None:
        self._source, self._fields = source, fields
        self._texts = self._list("tokens", str)
        self._types = [PieceType.NORMAL] * len(self._texts)
        if "tokenizer.ggml.token_type" in fields:
            self._types = [self._type(number) for number in self._list("token_type", int)]
        if len(self._types) != len(self._texts) or len(set(self._texts)) != len(self._texts):
            raise ConfigError(
                f"{source}: tokens repeat, or {len(self._types)} types for {len(self._texts)} tokens"
            )

    def tokenizer(self) -> Tokenizer:
        """All of it."""
        kind = self._need("model")
        if kind == "gpt2":
            backend, adds_bos = self._byte_level()
        elif kind == "llama":
            backend, adds_bos = self._sentencepiece(), True
        else:
            raise ConfigError(
                f"tokenizer.ggml.model is {kind!r}; supported are 'gpt2' (byte-level BPE) and 'llama' "
                "(SentencePiece BPE)"
            )
        self._put_around(backend, adds_bos)
        named = {key: self._token(name) for key, name in _NAMES.items()}
        ends = {token for name in ("eos", "eot", "eom") if (token := self._token(name)) is not None}
        control = self._of_type(PieceType.CONTROL)
        return Tokenizer(
            backend=backend,
            stop=frozenset(ends | {self._texts.index(text) for text in _END_TEXTS.intersection(control)}),
            chat_template=self._template(""),
            named_templates=self._named_templates(),
            special={key: self._texts[token] for key, token in named.items() if token is not None},
            vocabulary=len(self._texts),
        )

    def _byte_level(self) -> tuple[tokenizers.Tokenizer, bool]:
        if self._get("add_space_prefix", bool, False):
            raise ConfigError("tokenizer.ggml.add_space_prefix is true; with 'gpt2' only false is supported")
        pre = gguf_pre(self._need("pre"))
        backend = byte_level_bpe(
            {text: token for token, text in enumerate(self._texts)},
            self._list("merges", str),
            pre=pre.cut,
            special=self._of_type(PieceType.CONTROL, PieceType.UNKNOWN),
            added=self._of_type(PieceType.USER_DEFINED),
            ignore_merges=pre.ignore_merges,
        )
        return backend, pre.adds_bos

    def _sentencepiece(self) -> tokenizers.Tokenizer:
        scores = self._list("scores", float)
        if len(scores) != len(self._texts):
            raise ConfigError(f"{self._source}: {len(scores)} scores for {len(self._texts)} tokens")
        unknown = self._token("unknown")
        parts = zip(self._texts, scores, self._types, strict=True)
        backend = sentencepiece_tokenizer(
            SentencePieceModel(
                pieces=[Piece(_spelt(text), score, kind) for text, score, kind in parts],
                byte_fallback=PieceType.BYTE in self._types,
                unknown=0 if unknown is None else unknown,
                prefix_space=self._get("add_space_prefix", bool, True),
                user_defined_apart=False,
            )
        )
        for text, kind in zip(self._texts, self._types, strict=True):
            if kind in (PieceType.CONTROL, PieceType.UNKNOWN, PieceType.USER_DEFINED):
                special = kind is not PieceType.USER_DEFINED
                add_token(backend, tokenizers.AddedToken(_spelt(text), normalized=False, special=special))
        return backend

    def _put_around(self, backend: tokenizers.Tokenizer, adds_bos: bool) -> None:
        ends: dict[str, int | None] = {}
        for name, default in (("bos", adds_bos), ("eos", False)):
            key = f"add_{name}_token"
            stated = f"tokenizer.ggml.{key}" in self._fields
            token = self._token(name) if self._get(key, bool, default) else None
            if token is None and stated and self._get(key, bool, default):
                raise ConfigError(f"{self._source}: {key} without a tokenizer.ggml.{name}_token_id")
            ends[name] = token
        put_around(backend, **ends)

    def _named_templates(self) -> dict[str, str]:
        names = self._fields.get("tokenizer.chat_templates", [])
        found = {str(name): self._template(f".{name}") for name in cast("list[Any]", names)}
        return {name: template for name, template in found.items() if template is not None}

    def _template(self, suffix: str) -> str | None:
        value = self._fields.get(f"tokenizer.chat_template{suffix}")
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self._source}: tokenizer.chat_template{suffix} is no text")
        return value

    def _of_type(self, *kinds: PieceType) -> list[str]:
        return [text for text, kind in zip(self._texts, self._types, strict=True) if kind in kinds]

    def _token(self, name: str) -> int | None:
        key = f"{name}_token_id"
        if f"tokenizer.ggml.{key}" not in self._fields:
            return None
        token = self._get(key, int, 0)
        if not 0 <= token < len(self._texts):
            count = len(self._texts)
            raise ConfigError(
                f"{self._source}: tokenizer.ggml.{key} is {token}, outside the vocabulary of {count}"
            )
        return token

    def _type(self, number: int) -> PieceType:
        try:
            return PieceType(number)
        except ValueError:
            raise ConfigError(f"{self._source}: tokenizer.ggml.token_type has {number}") from None

    def _need(self, key: str) -> str:
        if f"tokenizer.ggml.{key}" not in self._fields:
            raise ConfigError(f"{self._source} has no field tokenizer.ggml.{key}")
        return self._get(key, str, "")

    def _get(self, key: str, kind: type[T], default: T) -> T:
        value = self._fields.get(f"tokenizer.ggml.{key}", default)
        if type(value) is not kind:
            raise ConfigError(f"{self._source}: tokenizer.ggml.{key} is {value!r}, expected {kind.__name__}")
        return value

    def _list(self, key: str, kind: type[T]) -> list[T]:
        value = self._fields.get(f"tokenizer.ggml.{key}")
        if value is None:
            raise ConfigError(f"{self._source} has no field tokenizer.ggml.{key}")
        if not isinstance(value, list) or any(type(each) is not kind for each in cast("list[Any]", value)):
            raise ConfigError(f"{self._source}: tokenizer.ggml.{key} is no list of {kind.__name__}")
        return cast("list[T]", value)


def _spelt(text: str) -> str:
    """A piece as SentencePiece spells it; some files hold runs of spaces as they are."""
    return "\u2581" * len(text) if text and not text.strip(" ") else text
