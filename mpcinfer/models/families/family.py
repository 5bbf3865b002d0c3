"""A family of Hugging Face models: which keys of a `config.json` it has, and what becomes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpcinfer.models.config import ActivationKind, ModelConfig
from mpcinfer.models.families.common_keys import HONOURED, MEANINGLESS, says_nothing
from mpcinfer.models.families.label_keys import is_classifier, labels_of
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import Layout

ACTIVATIONS: dict[str, ActivationKind] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "linear": "identity",
}

_CLASSIFIER = {"tied_head": False, "head_bias": False}
"""A decoder's: a matrix of its own reads the last row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One `model_type`. Every key is in one of the four sets, or else in `HONOURED` or `MEANINGLESS`,
    or is refused.

    Attributes:
        config: the shape, from fields that `settled` has checked and completed.
        layout: where the weights lie, and what is folded into them.
        prefix: of the base model's tensors, which a checkpoint without a head may lack.
        sizes: honoured; must be stated.
        defaults: honoured; what a key is where it is absent, as `transformers` has it.
        only: the values that a key may have; others are refused.
        meaningless: keys that do not change logits, beyond those of all families.
        stored: pattern of tensors that carry no weights.
        classifier: fields of its classifiers' shape; None where `transformers` has none.
        types: the key with a classifier's number of types of tokens; empty where they have none.
    """

    model_type: str
    config: Callable[[Fields], ModelConfig]
    layout: Callable[[Fields, ModelConfig], Layout]
    prefix: str
    sizes: frozenset[str]
    defaults: Mapping[str, Any]
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    meaningless: frozenset[str] = frozenset()
    stored: str = r".*\.rotary_emb\.inv_freq"
    classifier: Mapping[str, Any] | None = field(default_factory=lambda: dict(_CLASSIFIER))
    types: str = ""

    def settled(self, fields: Fields) -> Fields:
        """The fields with what is absent at its default.

        Raises:
            ConfigError: naming a key that nobody knows, or one with a value that we cannot represent.
        """
        for key, value in fields.values.items():
            if key in self.only:
                if value is not None and value not in self.only[key]:
                    allowed = " or ".join(map(repr, self.only[key])) or "null"
                    raise fields.refuse(key, f"only {allowed} is supported")
            elif not self._known(key) and not says_nothing(value):
                raise fields.refuse(
                    key, f"an unknown key of {self.model_type}; take it out if it does not change logits"
                )
        return Fields(fields.source, {**self.defaults, **fields.values})

    def shape(self, fields: Fields) -> ModelConfig:
        """The shape of a model, or of a classifier where the fields say so.

        Args:
            fields: settled.

        Raises:
            ConfigError: naming the key that is missing or that we cannot represent.
        """
        config = self.config(fields)
        if not is_classifier(fields):
            return config
        if self.classifier is None:
            raise fields.refuse("architectures", f"{self.model_type} has no classifiers")
        types = fields.integer(self.types) if self.types else 1
        return dataclasses.replace(
            config, head="classes", classes=len(labels_of(fields)), types=types, **self.classifier
        )

    def _known(self, key: str) -> bool:
        own = key in self.sizes or key in self.defaults or key in self.meaningless
        return own or key in HONOURED or key in MEANINGLESS


def activation(fields: Fields, key: str) -> ActivationKind:
    """An activation by transformers' name."""
    kind = ACTIVATIONS.get(fields.text(key))
    if kind is None:
        raise fields.refuse(key, f"expected one of {', '.join(ACTIVATIONS)}")
    return kind


def head_width(fields: Fields, key: str, width: int, heads: int) -> int:
    """Width over heads.

    Raises:
        ConfigError: it does not divide.
    """
    if heads < 1 or width % heads:
        raise fields.refuse(key, f"expected a divisor of the width, {width}")
    return width // heads
