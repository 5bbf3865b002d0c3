"""What both parties know of a model: everything but its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.public_document import PublicDocument
from mpcinfer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """Shape, tokenizer and calibrated ranges. The client needs no more than this.

    Attributes:
        tokenizer_text: what `tokenizer` was read from, where that is the `tokenizers` library's own form:
            another release of the library may write it otherwise, and the digest is of the text. Empty where
            the digest is of what the library writes.
    """

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    tokenizer_text: str = field(default="", repr=False)

    @staticmethod
    def of(model: Model) -> PublicModel:
        """The public part of a model."""
        return PublicModel(
            name=model.name, config=model.config, tokenizer=model.tokenizer, ranges=model.ranges
        )

    def digest(self) -> str:
        """SHA-256 over shape, ranges and tokenizer, 64 hex digits; compared in the handshake."""
        return PublicDocument.of(self).digest
