"""What an adapter is fitted to: attention over a prefix's keys and values, in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.static import static
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a layer's attention was given.

    Attributes:
        q: over sqrt(K), [1, H, T, K]; k, v: of the text itself, [1, H, T, K].
        offset, epsilon: of the heads, [H], where the model has them.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    offset: torch.Tensor | None
    epsilon: torch.Tensor | None


class TeacherBackend(PlainBackend):
    """Attention over a prefix's keys before a text's own, and a note of what every layer was given.

    Args:
        prefix: keys and values [1, H, m, K] of every layer; empty for none.

    Attributes:
        seen: a layer each, of the last pass.
    """

    def __init__(self, prefix: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()) -> None:
        self._prefix = prefix
        self.seen: list[Seen] = []

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None = None,
        epsilon: torch.Tensor | None = None,
        *,
        state: AttentionState[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        assert state is None, "the prefix's keys are here"
        layer = self.site.layer
        assert layer is not None
        self.seen.append(Seen(q, k, v, offset, epsilon))
        if self._prefix:
            keys, values = self._prefix[layer]
            k, v = torch.cat([keys, k], -2), torch.cat([values, v], -2)
        return super().attention(q, k, v, k.shape[-2] - q.shape[-2], form, offset, epsilon)


def require_prefixable(model: Model) -> None:
    """Raises ConfigError where a model has no prefixes."""
    config = model.config
    if not config.causal:
        raise ConfigError(f"{model.name} reads whole texts: prefixes are for models that continue them")
    if config.temperature == "position":
        raise ConfigError(f"{model.name} has temperatures by position, and a prefix has no positions")
    if any(config.window(layer) for layer in range(config.layers)):
        raise ConfigError(f"{model.name} has windows, which a prefix would be seen through")


def prefix_keys(model: Model, ids: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values [1, H, m, K] of a prefix of m tokens, a layer each, in float64.

    The text after it begins at position 0, whatever m is. RoPE turns the prefix's keys to positions -m to -1,
    so that distances are those of one text. Learned positions have no such: there the prefix has positions 0
    to m - 1 of its own, and the text the same ones.

    Raises:
        ConfigError: no tokens, or more than learned positions there are.
    """
    if not ids:
        raise ConfigError("a prefix has at least one token")
    rotary = model.config.positions == "rope"
    if not rotary and len(ids) > model.config.context:
        raise ConfigError(f"{len(ids)} tokens of a prefix: learned positions end at {model.config.context}")
    cache: KVCache[torch.Tensor] = KVCache(length=-len(ids) if rotary else 0)
    return [(each.k, each.v) for each in run_teacher(model, ids, (), cache)]


def run_teacher(
    model: Model,
    ids: Sequence[int],
    prefix: Sequence[tuple[torch.Tensor, torch.Tensor]],
    cache: KVCache[torch.Tensor] | None = None,
) -> list[Seen]:
    """What every layer's attention is given over a text that sees a prefix, in float64."""
    return teacher_logits(model, ids, prefix, cache)[1]


def teacher_logits(
    model: Model,
    ids: Sequence[int],
    prefix: Sequence[tuple[torch.Tensor, torch.Tensor]],
    cache: KVCache[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, list[Seen]]:
    """Logits [T, V] after every token as well."""
    config, weights = static(model.config, model.weights)
    backend = TeacherBackend(prefix)
    decoder = Decoder(backend, config, {name: value.double() for name, value in weights.items()})
    with torch.no_grad():
        logits = decoder.forward(backend.tokens(ids, len(ids)), len(ids), cache=cache)
    return logits[0], backend.seen
