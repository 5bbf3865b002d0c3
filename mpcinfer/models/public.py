"""What both parties know of a model: everything but its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.stored_tokenizer import settings_of
from mpcinfer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """Shape, tokenizer, calibrated ranges and names of classes. The client needs no more than this.

    Attributes:
        tokenizer_text: what `tokenizer` was read from, where that is the `tokenizers` library's own form:
            another release of the library may write it otherwise, and the digest is of the text. Empty where
            the digest is of what the library writes.
    """

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    labels: tuple[str, ...] = ()
    tokenizer_text: str = field(default="", repr=False)

    @staticmethod
    def of(model: Model) -> PublicModel:
        """The public part of a model."""
        return PublicModel(
            name=model.name,
            config=model.config,
            tokenizer=model.tokenizer,
            ranges=model.ranges,
            labels=model.labels,
        )

    def text(self) -> bytes:
        """The tokenizer in the form of the `tokenizers` library, in UTF-8."""
        return (self.tokenizer_text or self.tokenizer.backend.to_str()).encode()

    def head(self) -> bytes:
        """All the rest as JSON, with length and SHA-256 of `text`; of equal models the same bytes.

        `mpcinfer.models.public_document` reads both.
        """
        text = self.text()
        fields = {
            "config": self.config.to_json(),
            "labels": list(self.labels),
            "ranges": dict(self.ranges),
            "tokenizer": settings_of(self.tokenizer),
            "tokenizer_bytes": len(text),
            "tokenizer_sha256": hashlib.sha256(text).hexdigest(),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def digest(self) -> str:
        """SHA-256 of `head`, so over shape, ranges, names of classes and tokenizer: 64 hex digits, compared
        in the handshake."""
        return hashlib.sha256(self.head()).hexdigest()
