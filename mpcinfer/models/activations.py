"""Activations as Hugging Face's configurations call them."""

from __future__ import annotations

from mpcinfer.models.config import ActivationKind
from mpcinfer.models.fields import Fields

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


def activation_of(fields: Fields, key: str, default: str) -> ActivationKind:
    """The activation that a field names.

    Raises:
        ConfigError: one that we do not have.
    """
    kind = ACTIVATIONS.get(fields.text(key, default))
    if kind is None:
        raise fields.refuse(key, f"expected one of {', '.join(ACTIVATIONS)}")
    return kind
