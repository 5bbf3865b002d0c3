"""A float backend that shows a loss what happens inside: attention weights, and ranges."""

from __future__ import annotations

import torch

from mpcinfer.backends.attention_weights import causal_weights, visible_keys
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind


class WatchingBackend(PlainBackend):
    """Computes what `PlainBackend` does and keeps what penalties and diagnostics look at, with its gradients.

    Attention weights are computed in float32 at least, inside mixed precision too: entropies of weights that
    were rounded to eight bits would be those of the rounding.

    Attributes:
        weights: attention weights [B, H, T, S], a layer each.
        score_peaks: largest magnitude [B, H] of the scores that a window's queries may see, a layer each.
        variances: largest variance [B] (RMS norms: mean square) of a window's rows before each norm.
        pre_activations: largest magnitude [B] of a window's numbers before each activation.
    """

    def __init__(self, *, keep_weights: bool = True, keep_ranges: bool = False) -> None:
        self._keep_weights, self._keep_ranges = keep_weights, keep_ranges
        self.weights: list[torch.Tensor] = []
        self.score_peaks: list[torch.Tensor] = []
        self.variances: list[torch.Tensor] = []
        self.pre_activations: list[torch.Tensor] = []

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        with torch.autocast(scores.device.type, enabled=False):
            scores = _wide(scores)
            weights = causal_weights(scores, start, form, epsilon)
            if self._keep_weights:
                self.weights.append(weights)
            if self._keep_ranges:
                visible = visible_keys(scores, start, form.window, causal=form.causal, patterns=form.patterns)
                self.score_peaks.append(scores.abs().masked_fill(~visible, 0.0).amax((-1, -2)))
            return weights

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> torch.Tensor:
        if self._keep_ranges:
            wide = _wide(x)
            centred = wide - wide.mean(-1, keepdim=True) if kind == "layernorm" else wide
            self.variances.append(centred.square().mean(-1).amax(-1))
        return super().norm(x, weight, bias, kind, eps)

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        if self._keep_ranges and kind != "identity":
            self.pre_activations.append(_wide(x).abs().amax((-1, -2)))
        return super().activation(x, kind)


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
