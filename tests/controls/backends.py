"""Backends that are wrong in one operation each; the suite must reject them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.rope import Rope


class SeesTheFuture(PlainBackend):
    """No causal mask."""

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        return torch.softmax(scores, dim=-1)


class ForgetsWhereItIs(PlainBackend):
    """Positions count from zero in every step."""

    def add_positions(self, x: torch.Tensor, table: torch.Tensor, start: int) -> torch.Tensor:
        return super().add_positions(x, table, 0)

    def rope(self, x: torch.Tensor, start: int, rope: Rope) -> torch.Tensor:
        return super().rope(x, 0, rope)


class ForgetsItsWindow(PlainBackend):
    """Attention to all tokens up to a query's own."""

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        return super().attention_weights(scores, start, dataclasses.replace(form, window=0), epsilon)


class SeesOneKeyMore(PlainBackend):
    """A window that holds one key more than it should."""

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        wider = dataclasses.replace(form, window=form.window + 1 if form.window else 0)
        return super().attention_weights(scores, start, wider, epsilon)


class CountsItsWindowFromTheFront(PlainBackend):
    """A window that begins where the pass does, not at the first key."""

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        if not form.window or not start:
            return super().attention_weights(scores, start, form, epsilon)
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(-form.window)
        return super().attention_weights(
            scores.masked_fill(hidden, -100.0), start, dataclasses.replace(form, window=0), epsilon
        )


class RotatesOtherPairs(PlainBackend):
    """RoPE on adjacent pairs where halves are meant, and the other way round."""

    def rope(self, x: torch.Tensor, start: int, rope: Rope) -> torch.Tensor:
        other = "adjacent" if rope.pairs == "halves" else "halves"
        return super().rope(x, start, dataclasses.replace(rope, pairs=other))


class KeepsTheLatestKeys(PlainBackend):
    """A cache that forgets."""

    def concat_tokens(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat([a[..., :1, :], b], dim=-2)


class DropsBiases(PlainBackend):
    """Linear layers without their biases."""

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return super().linear(x, weight, None)


class DoesNotCentre(PlainBackend):
    """LayerNorm and RMSNorm exchanged."""

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> torch.Tensor:
        return super().norm(x, weight, bias, "rmsnorm" if kind == "layernorm" else "layernorm", eps)


class IsLinear(PlainBackend):
    """Activations left out."""

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        return x


class RepeatsHeadsInTurns(PlainBackend):
    """Grouped heads as 0 1 0 1 instead of 0 0 1 1."""

    def repeat_heads(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return torch.cat([x] * times, dim=-3)


class ReadsTheFirstToken(PlainBackend):
    """Every token is the first."""

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        assert ids is not None
        return super().tokens([ids[0]] * count, count)


class AnswersHalf(PlainBackend):
    """Half of the vocabulary."""

    def open_logits(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[..., : logits.shape[-1] // 2]


class AnswersFromTheFront(PlainBackend):
    """Logits of the first tokens of a pass where those of the last are asked for, unless it is one."""

    def last_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return super().last_tokens(x, count) if count == 1 else x[..., :count, :]


class CutsTheFront(PlainBackend):
    """A cache that is cut back to its last tokens."""

    def first_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x[..., -count:, :]


CONTROLS = (
    SeesTheFuture,
    ForgetsWhereItIs,
    ForgetsItsWindow,
    SeesOneKeyMore,
    CountsItsWindowFromTheFront,
    RotatesOtherPairs,
    KeepsTheLatestKeys,
    DropsBiases,
    DoesNotCentre,
    IsLinear,
    RepeatsHeadsInTurns,
    ReadsTheFirstToken,
    AnswersHalf,
    AnswersFromTheFront,
    CutsTheFront,
)
