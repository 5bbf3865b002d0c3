"""The tokenizer of a Hugging Face folder, with its special ids and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import tokenizers

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.fields import Fields
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError


def load_huggingface_tokenizer(folder: Path) -> Tokenizer:
    """A tokenizer from `tokenizer.json`, or from GPT-2's `vocab.json` and `merges.txt`.

    Whether a prompt begins with the bos token is what `tokenizer.json`'s post-processor does, unless
    `tokenizer_config.json` says `add_bos_token`. The ids that end an answer are `eos_token_id` of
    `generation_config.json`, else of `config.json`.

    Raises:
        ConfigError: no tokenizer, a damaged one, or one whose post-processor adds several
            tokens before a text.
    """
    backend = _backend(folder)
    settings = Fields.of_optional_file(folder / "tokenizer_config.json")
    special = {key: text for key in ("bos_token", "eos_token") if (text := _token_text(settings, key))}
    bos, suffix = _around(backend, settings, special.get("bos_token"))
    return Tokenizer(
        backend=backend,
        bos=bos,
        suffix=suffix,
        stop=_stop(folder),
        chat_template=_chat_template(folder, settings),
        special=special,
    )


def _backend(folder: Path) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ConfigError(f"{path} is not a readable tokenizer: {error}") from error
        backend.no_truncation()
        backend.no_padding()
        return backend
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise ConfigError(f"{folder} has no tokenizer.json, nor vocab.json with merges.txt")
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [line for line in lines if line and not line.startswith("#version")]
    ids = cast("dict[str, int]", Fields.of_file(vocabulary).values)
    special = [text for text in ("<|endoftext|>",) if text in ids]
    return byte_level_bpe(ids, pairs, pre="gpt-2", special=special)


def _token_text(settings: Fields, key: str) -> str | None:
    """A special token, written as text or as an object with its `content`."""
    value: Any = settings.values.get(key)
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("content")
    if value is not None and not isinstance(value, str):
        raise settings.refuse(key, "expected a text")
    return value


def _around(
    backend: tokenizers.Tokenizer, settings: Fields, text: str | None
) -> tuple[int | None, tuple[int, ...]]:
    """The id before a text, and those after it."""
    if settings.values.get("add_bos_token") is not None:
        if not settings.flag("add_bos_token", False):
            return None, ()
        token = None if text is None else backend.token_to_id(text)
        if token is None:
            raise settings.refuse("add_bos_token", f"bos_token {text!r} is not in the vocabulary")
        return token, ()
    bare = backend.encode("a", add_special_tokens=False).ids
    dressed = backend.encode("a", add_special_tokens=True).ids
    if dressed == bare:
        return None, ()
    if dressed[1 : len(bare) + 1] != bare:
        raise ConfigError(
            f"tokenizer.json adds {dressed} around {bare}; only one token before a text is supported"
        )
    return dressed[0], tuple(dressed[len(bare) + 1 :])


def _stop(folder: Path) -> frozenset[int]:
    for file in ("generation_config.json", "config.json"):
        fields = Fields.of_optional_file(folder / file)
        ends: Any = fields.values.get("eos_token_id")
        if ends is None:
            continue
        ids = cast("list[Any]", ends if isinstance(ends, list) else [ends])
        if not all(type(token) is int and token >= 0 for token in ids):
            raise fields.refuse("eos_token_id", "expected a token id or a list of them")
        return frozenset(ids)
    return frozenset()


def _chat_template(folder: Path, settings: Fields) -> str | None:
    """`chat_template.jinja`, else the (default) template of `tokenizer_config.json`."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    value: Any = settings.values.get("chat_template")
    if isinstance(value, list):
        named = cast("list[dict[str, Any]]", value)
        value = next((each.get("template") for each in named if each.get("name") == "default"), None)
    if value is not None and not isinstance(value, str):
        raise settings.refuse("chat_template", "expected a text")
    return value
