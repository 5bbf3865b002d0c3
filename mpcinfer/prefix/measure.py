"""How large what an adapter adds gets, over texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from mpcinfer.backends.attention_weights import capped, visible_keys
from mpcinfer.backends.feature_maps import features_of, with_one
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.static import static
from mpcinfer.prefix.adapter import DIVISOR, READ, SUM, PrefixAdapter


class MeasuringBackend(PlainBackend):
    """Attention over states that keeps how much these add to rows' sums.

    Attributes:
        read: the largest that is read of a state, or beside values that over the largest value; with what is
            beside the state.
        largest: (softmax) the same over exp of the row's largest score or 0; least: of rows' whole sums, over
            that.
        least: (power 2) of rows' whole sums, over what they are without the state.
    """

    def __init__(self) -> None:
        self.read, self.largest, self.least = 0.0, 0.0, 1.0

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
        if state is not None and form.kind == "softmax":
            scores = capped(self.add_offset(q @ self.transpose(k), offset, form.shift), form.cap)
            visible = visible_keys(scores, start, form.window, causal=form.causal)
            shown = scores.masked_fill(~visible, float("-inf"))
            peak = shown.amax(-1, keepdim=True).clamp_min(0.0)
            added = features_of(q, state.features) @ state.sums
            whole = torch.exp(shown - peak).sum(-1, keepdim=True) + added[..., -1:] * torch.exp(-peak)
            relative = torch.cat([added[..., :-1] / v.abs().max().clamp_min(1e-9), added[..., -1:]], -1).abs()
            self.read = max(self.read, float(relative.max()))
            self.largest = max(self.largest, float((relative * torch.exp(-peak)).max()))
            self.least = min(self.least, float(whole.min()))
        elif state is not None:
            own = self._squares(q, k, start, form, offset, epsilon)
            added = features_of(with_one(q, form, offset), state.features) @ state.sums
            more = added[..., -1:] if state.beside is None else added[..., -1:] + state.beside
            relative = torch.cat([added[..., :-1] / v.abs().max().clamp_min(1e-9), more], -1).abs()
            self.read = max(self.read, float(relative.max()))
            self.least = min(self.least, float((1 + more / own).min()))
        return super().attention(q, k, v, start, form, offset, epsilon, state=state)

    def _squares(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None,
        epsilon: torch.Tensor | None,
    ) -> torch.Tensor:
        """Every row's sum of squares of scores, and epsilon for each, [B, H, T, 1]."""
        scores = self.add_offset(q @ self.transpose(k), offset, form.shift)
        visible = visible_keys(scores, start, form.window, causal=form.causal)
        per_key = form.epsilon if epsilon is None else epsilon[:, None, None]
        return (scores.square() + per_key).masked_fill(~visible, 0.0).sum(-1, keepdim=True)


def measured_over(adapter: PrefixAdapter, model: Model, windows: Sequence[Sequence[int]]) -> PrefixAdapter:
    """The adapter with what was measured over texts."""
    backend = MeasuringBackend()
    config, weights = static(model.config, model.weights)
    decoder = Decoder(backend, config, weights, adapter.states(torch.float32))
    with torch.no_grad():
        for ids in windows:
            decoder.forward(backend.tokens(ids, len(ids)), len(ids))
    measured = {READ: backend.read, DIVISOR: backend.least}
    measured |= {} if adapter.features == "pairs" else {SUM: backend.largest}
    return dataclasses.replace(adapter, measured=measured)
