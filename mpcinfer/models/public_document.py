"""What a client may have of a model, as bytes: shape, ranges, names of classes and tokenizer; never a weight.

A document has two parts, so that a reader never parses much: the head, JSON of at most `MOST_HEAD_BYTES`, and
the text of the tokenizer, of at most `MOST_TOKENIZER_BYTES`, which the `tokenizers` library alone parses.
The head has length and SHA-256 of that text, so that the SHA-256 of the head names the whole document: the
model's digest, which the handshake compares and which a client may pin.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.labels import MOST_LABELS, labels_from
from mpcinfer.models.public import PublicModel
from mpcinfer.models.stored_tokenizer import SETTINGS, tokenizer_from
from mpcinfer.models.typed_fields import is_finite
from parties.errors import ConfigError

MOST_HEAD_BYTES = 1 << 19
MOST_TOKENIZER_BYTES = 1 << 25
DIGEST_LETTERS = 64
_FIELDS = {"config", "labels", "ranges", "tokenizer", "tokenizer_bytes", "tokenizer_sha256"}
_MOST = {
    "layers": 1 << 10,
    "width": 1 << 17,
    "heads": 1 << 12,
    "kv_heads": 1 << 12,
    "head_width": 1 << 12,
    "hidden": 1 << 20,
    "vocabulary": 1 << 22,
    "context": 1 << 24,
    "classes": MOST_LABELS,
    "types": 1 << 8,
}
"""Larger shapes than anybody has: what a reader would count or allocate for them is bounded."""


@dataclass(frozen=True, slots=True)
class Head:
    """A checked head; `read` makes one."""

    digest: str
    tokenizer_bytes: int
    tokenizer_sha256: str
    _fields: dict[str, Any]

    @staticmethod
    def read(raw: bytes, source: str) -> Head:
        """A head from a peer.

        Args:
            source: where it comes from, for the error.

        Raises:
            ConfigError: too long, not JSON, or a field that is missing, surplus, of another type or beyond
                what any model has.
        """
        fields = _parsed(raw, source)
        if set(fields) != _FIELDS:
            raise ConfigError(f"{source}: expected the fields {sorted(_FIELDS)}, got {sorted(fields)[:8]}")
        size, digest = fields["tokenizer_bytes"], fields["tokenizer_sha256"]
        if type(size) is not int or not 0 < size <= MOST_TOKENIZER_BYTES:
            raise ConfigError(
                f"{source}: a tokenizer of {size!r} bytes; 1 to {MOST_TOKENIZER_BYTES} are read"
            )
        if not isinstance(digest, str) or not is_digest(digest):
            raise ConfigError(f"{source}: tokenizer_sha256 is not 64 hex digits")
        return Head(hashlib.sha256(raw).hexdigest(), size, digest, fields)

    def model(self, tokenizer: bytes, *, name: str, source: str) -> PublicModel:
        """The model, once the tokenizer's text is there.

        Raises:
            ConfigError: it is not the text that the head names, or a field cannot be used.
        """
        if hashlib.sha256(tokenizer).hexdigest() != self.tokenizer_sha256:
            raise ConfigError(f"{source}: the tokenizer's text is not the one that is named")
        try:
            text = tokenizer.decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{source}: the tokenizer's text is not UTF-8") from None
        settings = _object(self._fields["tokenizer"], source, "tokenizer")
        if settings.keys() != SETTINGS:
            raise ConfigError(f"{source}: the tokenizer has other settings than expected")
        config = config_of_peer(_object(self._fields["config"], source, "config"), source)
        read = tokenizer_from(text, settings, config.vocabulary, source, source)
        ranges = _ranges(_object(self._fields["ranges"], source, "ranges"), source)
        labels = labels_from(self._fields["labels"], config.classes, source)
        public = PublicModel(
            name=name, config=config, tokenizer=read, ranges=ranges, labels=labels, tokenizer_text=text
        )
        if public.digest() != self.digest:  # the handshake would compare another digest than the pin
            raise ConfigError(f"{source}: it is not in the one form that its digest allows")
        return public


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 as 64 lower-case hex digits."""
    return re.fullmatch(f"[0-9a-f]{{{DIGEST_LETTERS}}}", text) is not None


def require_digest(public: PublicModel, pinned: str | None) -> None:
    """Raises ConfigError where a model is not the one that a client pinned."""
    if pinned is not None and public.digest() != pinned:
        raise ConfigError(
            f"{public.name} is not the model that --digest names: expected {pinned}, got {public.digest()}"
        )


def config_of_peer(fields: dict[str, Any], source: str) -> ModelConfig:
    """A shape from plain values that a peer sent.

    Args:
        source: where they come from, for the error.

    Raises:
        ConfigError: a field is unknown, missing, of another type, or larger than any model's.
    """
    config = ModelConfig.from_json(fields)
    for name, most in _MOST.items():
        if getattr(config, name) > most:
            raise ConfigError(f"{source}: {name} is {getattr(config, name)}, at most {most} are read")
    return config


def _ranges(fields: dict[str, Any], source: str) -> dict[str, float]:
    for key, value in fields.items():
        if not is_finite(value) or not value >= 0:
            raise ConfigError(f"{source}: range {key[:80]!r} is not a finite number from 0")
    return cast("dict[str, float]", fields)


def _object(value: object, source: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: {name} must be an object")
    return cast("dict[str, Any]", value)


def _parsed(raw: bytes, source: str) -> dict[str, Any]:
    if len(raw) > MOST_HEAD_BYTES:
        raise ConfigError(f"{source}: {len(raw)} bytes, at most {MOST_HEAD_BYTES} are read")
    try:
        value: object = json.loads(raw, parse_constant=_refuse_constant)
        json.dumps(
            value, ensure_ascii=False
        ).encode()  # halves of surrogate pairs can be read, and never shown
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not JSON: {type(error).__name__}") from None
    return _object(value, source, "it")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
