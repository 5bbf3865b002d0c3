"""What both parties know of a model: everything but its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """Shape, tokenizer, calibrated ranges and names of classes. The client needs no more than this."""

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    labels: tuple[str, ...] = ()

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

    def digest(self) -> str:
        """Sixteen hex digits over shape and ranges, compared in the handshake."""
        text = json.dumps([self.config.to_json(), dict(self.ranges)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
