"""A tokenizer as two plain values: the text of the `tokenizers` library, and settings beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import tokenizers

from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError


def settings_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What `tokenizer_from` wants beside the library's text."""
    return {
        "bos": tokenizer.bos,
        "stop": sorted(tokenizer.stop),
        "chat_template": tokenizer.chat_template,
        "special": dict(tokenizer.special),
    }


def tokenizer_from(text: str, settings: Mapping[str, Any], source: str, settings_source: str) -> Tokenizer:
    """A tokenizer from the library's JSON and from settings, both of which may come from a peer.

    Args:
        source, settings_source: where they come from, for the error.

    Raises:
        ConfigError: the library does not take the text, or a setting has another type than expected.
    """
    bos, stop, template = settings.get("bos"), settings.get("stop", []), settings.get("chat_template")
    _require(bos is None or _is_id(bos), settings_source, f"bos must be a token id or null, got {bos!r}")
    _require(isinstance(stop, list), settings_source, f"stop must be a list of token ids, got {stop!r}")
    ids = cast("list[object]", stop)
    _require(
        all(_is_id(token) for token in ids),
        settings_source,
        f"stop must be a list of token ids, got {stop!r}",
    )
    _require(
        template is None or isinstance(template, str), settings_source, "chat_template must be text or null"
    )
    special: object = settings.get("special", {})
    _require(
        isinstance(special, dict), settings_source, f"special must be an object of texts, got {special!r}"
    )
    texts = cast("dict[str, object]", special)
    _require(
        all(isinstance(each, str) for each in texts.values()),
        settings_source,
        "special must be an object of texts",
    )
    return Tokenizer(
        backend=_backend(text, source),
        bos=bos,
        stop=frozenset(cast("list[int]", ids)),
        chat_template=template,
        special=cast("dict[str, str]", special),
    )


def _backend(text: str, source: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, or BaseException where it panics
        raise ConfigError(f"{source}: not a tokenizer: {error}") from error


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _require(condition: bool, source: str, problem: str) -> None:
    if not condition:
        raise ConfigError(f"{source}: {problem}")
