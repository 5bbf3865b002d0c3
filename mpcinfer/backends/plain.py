"""Ordinary torch, differentiable: trains the models and is the float reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from mpcinfer.backends.attention_weights import capped, causal_weights, weighed_scores
from mpcinfer.backends.feature_maps import softmax_with_state, squares_with_state, state_of_squares
from mpcinfer.backends.tensors import TensorBackend
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.rope import Rope
from mpcinfer.models.turning import Turning, rope_angles
from protocols.typed_tokens import rows_of


class PlainBackend(TensorBackend):
    """Runs a decoder on float tensors; the dtype is that of the weights."""

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        assert ids is not None
        assert len(ids) == count
        return torch.tensor([list(ids)], dtype=torch.int64)

    def embed(self, tokens: torch.Tensor, table: torch.Tensor, types: int = 1) -> torch.Tensor:
        return functional.embedding(tokens, table) if types == 1 else rows_of(tokens, table, types)

    def add_positions(self, x: torch.Tensor, table: torch.Tensor, start: int) -> torch.Tensor:
        return x + table[start : start + x.shape[-2]]

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x, weight.T, bias)

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        return causal_weights(scores, start, form, epsilon)

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
        if state is None:
            return super().attention(q, k, v, start, form, offset, epsilon)
        scores = capped(self.add_offset(q @ self.transpose(k), offset, form.shift), form.cap)
        scores = self.weigh_columns(scores, form)
        if form.kind == "softmax":
            return softmax_with_state(q, scores, v, start, form, state)
        return squares_with_state(q, scores, v, start, form, state, offset, epsilon)

    def into_state(
        self,
        state: AttentionState[torch.Tensor] | None,
        k: torch.Tensor,
        v: torch.Tensor,
        form: AttentionForm,
        offset: torch.Tensor | None,
    ) -> AttentionState[torch.Tensor]:
        return state_of_squares(state, k, v, form, offset)

    def kernel_inputs(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        halves = [x.square().sum(-1, keepdim=True) * -0.5 for x in (q, k)]
        ones = [torch.ones_like(half) for half in halves]
        return torch.cat([q, ones[0], halves[0]], -1), torch.cat([k, halves[1], ones[1]], -1)

    def cap_scores(self, scores: torch.Tensor, start: int, form: AttentionForm) -> torch.Tensor:
        return capped(scores, form.cap)

    def weigh_columns(self, scores: torch.Tensor, form: AttentionForm) -> torch.Tensor:
        if self.column_weights is None:
            return scores
        logs = self.column_weights.columns(scores.shape[-1])[:, None, None].to(scores.dtype)
        return weighed_scores(scores, logs, form)

    def add_offset(self, scores: torch.Tensor, offset: torch.Tensor | None, shift: float) -> torch.Tensor:
        scores = scores if offset is None else scores + offset[:, None, None]
        return scores + shift if shift else scores

    def apply_temperature(self, q: torch.Tensor, log_temperature: torch.Tensor, start: int) -> torch.Tensor:
        rows = log_temperature[:, start : start + q.shape[-2], None]
        return q * torch.exp(-rows)

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> torch.Tensor:
        if kind == "layernorm":
            return functional.layer_norm(x, (x.shape[-1],), weight, bias, eps)
        scaled = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        scaled = scaled if weight is None else scaled * weight
        return scaled if bias is None else scaled + bias

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        match kind:
            case "gelu":
                return functional.gelu(x)
            case "gelu_tanh":
                return functional.gelu(x, approximate="tanh")
            case "relu":
                return functional.relu(x)
            case "silu":
                return functional.silu(x)
            case "tanh":
                return torch.tanh(x)
            case "erf":
                return torch.erf(x)
            case "identity":
                return x

    def mul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b

    def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    def scale(self, x: torch.Tensor, factor: float) -> torch.Tensor:
        return x * factor

    def rope(self, x: torch.Tensor, start: int, rope: Rope) -> torch.Tensor:
        cos, sin = rope_angles(rope, x.shape[-2], start)
        cos, sin = cos.to(x), sin.to(x)
        turning = Turning(rope)
        first, second = turning.first(x), turning.second(x)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return torch.cat([turning.placed(turned), turning.rest(x)], dim=-1)

    def diagonal(
        self,
        x: torch.Tensor,
        gain: torch.Tensor,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert mean is None
        return x * gain if bias is None else x * gain + bias

    def sum_tokens(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(-2, keepdim=True)

    def head(
        self, x: torch.Tensor, table: torch.Tensor, tied: bool, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        return functional.linear(x, table if tied else table.T, bias)

    def open_logits(self, logits: torch.Tensor) -> torch.Tensor:
        return logits
