"""A tokenizer as two plain values: the text of the `tokenizers` library, and settings beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import tokenizers

from mpcinfer.models.special_tokens import put_around
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

SETTINGS = frozenset({"stop", "chat_template", "named_templates", "special", "clean_up"})


def settings_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What `tokenizer_from` wants beside the library's text."""
    return {
        "stop": sorted(tokenizer.stop),
        "chat_template": tokenizer.chat_template,
        "named_templates": dict(tokenizer.named_templates),
        "special": dict(tokenizer.special),
        "clean_up": tokenizer.clean_up,
    }


def tokenizer_from(
    text: str, settings: Mapping[str, Any], vocabulary: int, source: str, settings_source: str
) -> Tokenizer:
    """A tokenizer from the library's JSON and from settings, both of which may come from a peer.

    Args:
        settings: of `settings_of`; `bos`, an id or null, is what folders of 0.1 have instead of a tokenizer
            that puts it before a text.
        vocabulary: how many tokens the model has rows for.
        source, settings_source: where they come from, for the error.

    Raises:
        ConfigError: the library does not take the text, or a setting has another type than expected.
    """
    stop, template = settings.get("stop", []), settings.get("chat_template")
    clean_up: object = settings.get("clean_up", False)
    ids = cast("list[object]", stop) if isinstance(stop, list) else [stop]
    _require(
        isinstance(stop, list) and all(_is_id(token) for token in ids),
        f"{settings_source}: stop must be a list of token ids, got {stop!r}",
    )
    _require(
        template is None or isinstance(template, str),
        f"{settings_source}: chat_template must be text or null",
    )
    _require(
        isinstance(clean_up, bool), f"{settings_source}: clean_up must be true or false, got {clean_up!r}"
    )
    backend = _backend(text, source)
    if "bos" in settings:
        bos: object = settings["bos"]
        _require(
            bos is None or _is_id(bos), f"{settings_source}: bos must be a token id or null, got {bos!r}"
        )
        put_around(backend, bos=cast("int | None", bos))
    return Tokenizer(
        backend=backend,
        stop=frozenset(cast("list[int]", ids)),
        chat_template=template,
        named_templates=_texts(settings, "named_templates", settings_source),
        special=_texts(settings, "special", settings_source),
        clean_up=bool(clean_up),
        vocabulary=vocabulary,
    )


def _backend(text: str, source: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, or BaseException where it panics
        raise ConfigError(f"{source}: not a tokenizer: {error}") from error


def _texts(settings: Mapping[str, Any], key: str, source: str) -> dict[str, str]:
    value: object = settings.get(key, {})
    texts = cast("dict[str, object]", value) if isinstance(value, dict) else {"": None}
    _require(
        all(isinstance(each, str) for each in texts.values()),
        f"{source}: {key} must be an object of texts, got {value!r}",
    )
    return cast("dict[str, str]", texts)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ConfigError(problem)
