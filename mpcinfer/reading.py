"""What a model makes of whole texts: vectors, or scores of labels, however it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mpcinfer.models.config import HeadKind
from mpcinfer.models.public import PublicModel
from mpcinfer.prompts import Text, prompt_ids
from parties.errors import ConfigError

Read = Callable[[Sequence[Sequence[int]]], torch.Tensor]
"""Token ids of texts -> what the head gives, a vector of each, [n, outputs]."""
_COMMANDS: dict[HeadKind, str] = {
    "vocabulary": "it continues texts: take `generate`, `complete` in Python",
    "embedding": "it makes vectors of texts: take `embed`",
    "classes": "it gives texts labels: take `classify`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Scores of texts.

    Attributes:
        logits: [n, classes], float.
        labels: names of the classes.
    """

    logits: torch.Tensor
    labels: tuple[str, ...]

    @property
    def probabilities(self) -> torch.Tensor:
        """Softmax of every text's logits, [n, classes]: of labels that exclude each other."""
        return torch.softmax(self.logits.double(), -1)

    @property
    def best(self) -> list[str]:
        """Every text's likeliest label."""
        return [self.labels[int(row.argmax())] for row in self.logits]


def require_head(public: PublicModel, kind: HeadKind) -> None:
    """Raises ConfigError where a model's head is of another kind."""
    if public.config.head != kind:
        raise ConfigError(f"{public.name} cannot do that: {_COMMANDS[public.config.head]}")


def embeddings(
    read: Read, public: PublicModel, texts: Sequence[str], *, context: int, normalise: bool
) -> torch.Tensor:
    """A vector a text, [n, D] in float64.

    Args:
        read: runs the model.
        context: the most tokens of a text.
        normalise: divide each by its length: done by whoever has the vectors, so that it costs nothing.

    Raises:
        ConfigError: no texts, one that is too long, or a model of another kind.
    """
    require_head(public, "embedding")
    vectors = _read_all(read, public, texts, context)
    return vectors / vectors.square().sum(-1, keepdim=True).sqrt() if normalise else vectors


def labelled(read: Read, public: PublicModel, texts: Sequence[Text], *, context: int) -> Labelled:
    """Every text's scores, or every pair's; arguments and errors as for `embeddings`."""
    require_head(public, "classes")
    names = public.labels or tuple(f"LABEL_{number}" for number in range(public.config.classes))
    return Labelled(logits=_read_all(read, public, texts, context), labels=names)


def _read_all(read: Read, public: PublicModel, texts: Sequence[Text], context: int) -> torch.Tensor:
    if not texts:
        raise ConfigError("there are no texts")
    encoded = [prompt_ids(public, text, f"text {number}") for number, text in enumerate(texts, 1)]
    for number, ids in enumerate(encoded, 1):
        if len(ids) > context:
            raise ConfigError(f"text {number} has {len(ids)} tokens, of 1 to {context} that fit")
    return read(encoded).double()
