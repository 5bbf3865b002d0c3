"""The decoder on shares: what is local is done here, the rest is the plan's protocols."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.bounds import (
    ACTIVATION_MARGIN,
    SCORE_MARGIN,
    Seen,
    assumed_product,
    divisor_bounds,
    norm_shift,
    score_bound,
)
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ActivationKind, AttentionForm, ModelConfig, NormKind, weight_shapes
from mpcinfer.models.padding import is_padding, positions_of
from mpcinfer.models.rope import Rope
from mpcinfer.suites.arithmetic.column_weights import require_room, with_column_weights
from mpcinfer.suites.arithmetic.kernel import kernel_weights, with_half_squares
from mpcinfer.suites.arithmetic.moving import MovingBackend
from mpcinfer.suites.arithmetic.padded_scores import without_padding
from mpcinfer.suites.arithmetic.polynomial import require_polynomial
from mpcinfer.suites.arithmetic.turning import turned
from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER, Phase
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.pattern_rows import rows_of
from protocols.arithmetic.power_weights import relu_weights
from protocols.arithmetic.suite import Suite
from protocols.arithmetic.weight import Weight
from protocols.share import Share
from protocols.typed_tokens import one_hot_rows

MARGIN = 4.0
"""How far beyond its calibrated range a norm's mean square may go, as a factor each way."""

PRODUCT_MARGIN = 2.0
"""Likewise, of products with weights and of activations."""

UNCALIBRATED = (0.5, 32.0)
"""Mean squares assumed, before the margin, for shapes without weights, which are billed and never run."""

UNCALIBRATED_DIVISORS = (2.0**-4, 2.0**6)
"""Likewise, of power attention: means of powers plus epsilon, of scores up to 2."""
EPSILON_FRAC = 30
"""Fraction bits of shared epsilons of power attention, which may be far below 2^-16."""

UNCALIBRATED_SPREAD = 64.0
"""Likewise, of how far scores are below their row's largest."""

_SPREAD = {"layernorm": "variance", "rmsnorm": "mean_square"}


class SecureBackend(MovingBackend):
    """Runs a decoder on shares of Z_2^64, one instance a party and session.

    Args:
        executor: the primitives: over CrypTen, or on shapes alone for a bill.
        suite: the plan's protocols.
        vocabulary: V, for one-hot token rows.
        ranges: public calibration results, see `mpcinfer.models.ranges`; None assumes `UNCALIBRATED`, which
            is for bills only.
        batch: sequences of every pass.
        types: of tokens.

    Attributes:
        padding: how many tokens at the start of each sequence are padding, at the client.
    """

    def __init__(
        self,
        executor: Arithmetic,
        suite: Suite,
        vocabulary: int,
        ranges: Mapping[str, float] | None = None,
        batch: Batch = SINGLE,
        types: int = 1,
    ) -> None:
        super().__init__(executor)
        self.suite = suite
        self._vocabulary, self._ranges, self._batch, self._types = vocabulary, ranges, batch, types
        self.padding: Sequence[int] | None = None

    def load(
        self,
        config: ModelConfig,
        weights: Mapping[str, torch.Tensor] | None,
        only: Collection[str] | None = None,
    ) -> dict[str, Weight]:
        """Brings the server's weights in, in the setup phase. `weights` is None at the client.

        `only` names the weights to bring in, where a part of the model is run.

        Matrices go through `Arithmetic.weight`; vectors and positions are only ever added or scaled and are
        shared as they are; temperatures by position as exp of minus their logarithms.
        """
        if self.suite.polynomial:
            require_polynomial(config)
        loaded: dict[str, Weight] = {}
        with self.executor.meter.phase(Phase.SETUP), self.span("setup", "setup"):
            for name, shape in weight_shapes(config).items():
                if only is not None and name not in only:
                    continue
                value = None if weights is None else weights[name]
                loaded[name] = self._loaded(name, value, shape)
        return loaded

    def _loaded(self, name: str, value: torch.Tensor | None, shape: tuple[int, ...]) -> Weight:
        if name.endswith("attn.epsilon"):
            return Weight(name, self.executor.share_from(SERVER, value, shape, frac_bits=EPSILON_FRAC))
        if name.endswith("attn.log_temperature"):
            factors = None if value is None else torch.exp(-value)
            return Weight(name, self.executor.share_from(SERVER, factors, shape))
        if len(shape) > 1 and (name != "embed.positions" or self._batch.padded):
            return self.executor.weight(name, value, shape)
        return Weight(name, self.executor.share_from(SERVER, value, shape))

    def span(self, name: str, kind: str = "") -> AbstractContextManager[object]:
        return self.executor.meter.span(name, kind)

    def tokens(self, ids: Sequence[int] | None, count: int) -> Share:
        """One-hot rows [B, T, V + types - 1], shared by the client."""
        return self._one_hot(ids, count, self._vocabulary, self._types)

    def _one_hot(self, numbers: Sequence[int] | None, count: int, of: int, types: int = 1) -> Share:
        rows, shape = None, (self._batch.size, count, of + types - 1)
        if numbers is not None:
            rows = one_hot_rows(torch.tensor(list(numbers)), of, types).float().reshape(shape)
        return self.executor.share_from(CLIENT, rows, shape, frac_bits=self.executor.choice_frac_bits)

    def embed(self, tokens: Share, table: Weight, types: int = 1) -> Share:
        with self._within("embedding/bound"):
            return self.executor.linear(tokens, table)

    def add_positions(self, x: Share, table: Weight, start: int) -> Share:
        tokens = x.shape[-2]
        if self._batch.padded:  # private: looked up as tokens are
            own = None if self.padding is None else positions_of(self.padding, start, tokens)
            rows = self.embed(self._one_hot(own, tokens, table.shape[0]), table)
            return self.executor.add(x, rows)
        return self.executor.add(
            x, self.executor.rearrange(table.share, lambda rows: rows[start : start + tokens])
        )

    def linear(self, x: Share, weight: Weight, bias: Weight | None) -> Share:
        with self._within(f"{weight.name.removesuffix('.weight')}/linear"):
            return self.executor.linear(x, weight, bias=None if bias is None else bias.share)

    def matmul(self, a: Share, b: Share) -> Share:
        return self.executor.matmul(a, b)

    def attention_inputs(self, q: Share, k: Share, v: Share, start: int | None) -> tuple[Share, Share, Share]:
        if start is None:
            return q, k, v
        executor, bits = self.executor, list[int]()
        for name, left, right in (("scores", q, k), ("mix", Share(v.value, executor.frac_bits), v)):
            with self.sized(f"{name}/matmul"):
                bits.append(executor.product_bits(left, right))
        with self.span("inputs", "matmul"):
            return executor.attention_factors(self.site.key, q, k, v, start, (bits[0], bits[1]))

    def sized(self, name: str) -> AbstractContextManager[object]:
        return self._within(f"{self.site.key}.{name}")

    def attention_weights(
        self, scores: Share, start: int, form: AttentionForm, epsilon: Weight | None = None
    ) -> Share:
        if form.kind == "softmax":
            if self._batch.padded:
                scores = self._without_padding(scores)
            return self.suite.softmax(
                self.executor, scores, start, form.window, causal=form.causal, patterns=form.patterns
            )
        if form.kind == "relu":
            rows, relu = rows_of(scores, start, patterns=form.patterns), self.suite.relu
            if self._ranges is not None and relu.polynomial:
                relu = relu.within(score_bound(form, self.site.key, Seen(self._ranges)))
            positive = relu(self.executor, rows.pack(self.executor, scores))
            return relu_weights(self.executor, positive, rows)
        if form.kind == "gaussian":
            rows = rows_of(scores, start, patterns=form.patterns)
            return kernel_weights(self.executor, self.suite.exponential, scores, rows, self._farthest())
        (low, high), largest = UNCALIBRATED_DIVISORS, 2.0
        if self._ranges is not None:
            prefix, seen = self.site.key, Seen(self._ranges)
            low, high = divisor_bounds(form, prefix, seen, scaled=epsilon is not None)
            largest = score_bound(form, prefix, seen)
        added = form.epsilon if epsilon is None else epsilon.share
        power = self.suite.power(form.power, low, high, largest)
        return power(self.executor, scores, start, added, form.patterns)

    def kernel_inputs(self, q: Share, k: Share) -> tuple[Share, Share]:
        with self._within(f"{self.site.key}/half_squares"):
            return with_half_squares(self.executor, q, k)

    def _farthest(self) -> float:
        """How large the scores of a Gaussian kernel get, as the ranges have it."""
        return Seen(self._ranges).largest(f"{self.site.key}.scores/matmul", 0.0, SCORE_MARGIN)

    def cap_scores(self, scores: Share, start: int, form: AttentionForm) -> Share:
        """Of what a query may see; the rest is zero.

        Scores are first divided by a power of two: 16 bits of 1 / cap would say little.
        """
        executor = self.executor
        rows = rows_of(scores, start, form.window, causal=form.causal, patterns=form.patterns)
        shift = max(math.floor(math.log2(form.cap)), 0)
        small = executor.shift_down(rows.pack(executor, scores), shift)
        bent = self.suite.tanh(executor, executor.mul_public(small, 2.0**shift / form.cap))
        return rows.unpack(executor, executor.mul_public(bent, form.cap))

    def weigh_columns(self, scores: Share, form: AttentionForm) -> Share:
        if self.column_weights is None:
            return scores
        if form.kind != "softmax":
            raise ConfigError(f"private prompt weights are for softmax attention, not for {form.kind}")
        return with_column_weights(self.executor, scores, self.column_weights)

    def require_room(self, columns: ColumnWeights) -> None:
        most = self.suite.softmax.max_spread
        require_room(self._ranges or {}, most, columns, padded=self._batch.padded)

    def _without_padding(self, scores: Share) -> Share:
        key, spread = f"{self.site.key}.softmax/spread", UNCALIBRATED_SPREAD
        if self._ranges is not None:
            spread = Seen(self._ranges).largest(key, spread, SCORE_MARGIN)
        most = self.suite.softmax.max_spread
        return without_padding(self.executor, scores, self.padding, key, spread, most)

    def add_offset(self, scores: Share, offset: Weight | None, shift: float) -> Share:
        if offset is not None:
            heads = self.executor.rearrange(offset.share, lambda value: value[:, None, None])
            scores = self.executor.add(scores, heads)
        return self.executor.add_public(scores, shift) if shift else scores

    def apply_temperature(self, q: Share, log_temperature: Weight, start: int) -> Share:
        """Multiplies by exp of the temperature, which the server has taken (`load`)."""
        end = start + q.shape[-2]
        factors = self.executor.rearrange(log_temperature.share, lambda value: value[:, start:end, None])
        return self.executor.mul(q, factors)

    def norm(self, x: Share, weight: Weight | None, bias: Weight | None, kind: NormKind, eps: float) -> Share:
        executor = self.executor
        low, high = self._norm_range(f"{self.site.key}/{_SPREAD[kind]}")
        shift = norm_shift(low, high)
        x = executor.mul_integer(x, 1 << shift) if shift >= 0 else executor.shift_down(x, -shift)
        if kind == "layernorm":
            x = executor.sub(x, self._mean(x))
        scale = 4.0**shift
        mean_square = executor.add_public(self._mean(executor.square(x)), eps * scale)
        inverse_sqrt = self.suite.inverse_sqrt((low + eps) * scale, (high + eps) * scale)
        result = inverse_sqrt.normalise(executor, x, mean_square)
        if weight is not None:
            result = executor.mul(result, weight.share)
        return result if bias is None else executor.add(result, bias.share)

    def head_norms(
        self, q: Share, k: Share, gains: tuple[Weight, Weight], kind: NormKind, eps: float
    ) -> tuple[Share, Share]:
        """Both together, over a range that holds both; the gains one after the other."""
        executor, layer = self.executor, self.site.layer
        lows, highs, rows, added = list[float](), list[float](), list[Share](), list[torch.Tensor]()
        with self.span("qk_norm", kind):
            for x, part in ((q, "q_norm"), (k, "k_norm")):
                low, high = self._norm_range(f"layer{layer}.attn.{part}/{_SPREAD[kind]}")
                shift = norm_shift(low, high)
                scaled = executor.mul_integer(x, 1 << shift) if shift >= 0 else executor.shift_down(x, -shift)
                rows.append(executor.rearrange(scaled, lambda value: value.flatten(-3, -2)))
                scale = 4.0**shift
                added.append(torch.full((rows[-1].shape[-2], 1), eps * scale, dtype=torch.float64))
                lows.append((low + eps) * scale)
                highs.append((high + eps) * scale)
            both = executor.concat(rows, -2)
            mean_square = executor.add_public(self._mean(executor.square(both)), torch.cat(added))
            normed = self.suite.inverse_sqrt(min(lows), max(highs)).normalise(executor, both, mean_square)
            first, size = rows[0].shape[-2], q.shape
            q = executor.rearrange(normed, lambda value: value[..., :first, :].reshape(size))
            k = executor.rearrange(normed, lambda value: value[..., first:, :].reshape(k.shape))
            return executor.mul(q, gains[0].share), executor.mul(k, gains[1].share)

    def activation(self, x: Share, kind: ActivationKind) -> Share:
        match kind:
            case "gelu" | "gelu_tanh":
                protocol = self.suite.gelu
            case "silu":
                protocol = self.suite.silu
            case "relu":
                protocol = self.suite.relu
            case "tanh":
                return self.suite.tanh(self.executor, x)
            case "erf":
                return self.suite.erf(self.executor, x)
            case "identity":
                return x
        if self._ranges is not None and protocol.calibrated:
            label = f"{self.site.key}.{kind}/in"
            protocol = protocol.within(Seen(self._ranges).largest(label, 0.0, ACTIVATION_MARGIN))
        return protocol(self.executor, x)

    def mul(self, a: Share, b: Share) -> Share:
        return self.executor.mul(a, b)

    def add(self, a: Share, b: Share) -> Share:
        return self.executor.add(a, b)

    def scale(self, x: Share, factor: float) -> Share:
        return self.executor.mul_public(x, factor)

    def rope(self, x: Share, start: int, rope: Rope) -> Share:
        return turned(self.executor, x, start, rope)

    def diagonal(self, x: Share, gain: Weight, bias: Weight | None, mean: Weight | None = None) -> Share:
        """A product with the shared gain."""
        assert mean is None
        site = self._site
        with nullcontext() if site is None else self._within(f"{site.key}/diagonal"):
            product = self.executor.mul(x, gain.share)
        return product if bias is None else self.executor.add(product, bias.share)

    def sum_tokens(self, x: Share) -> Share:
        """Of tokens alone: rows of padding are multiplied by the client's zeros."""
        if self._batch.padded:
            rows, own = (*x.shape[:-1], 1), None
            if self.padding is not None:
                own = (~is_padding(self.padding, rows[-2])).double()[..., None]
            x = self.executor.mul(x, self.executor.share_from(CLIENT, own, rows, frac_bits=0))
        turned = self.executor.rearrange(x, lambda v: v.transpose(-1, -2))
        return self.executor.rearrange(self.executor.sum(turned, -1), lambda v: v.transpose(-1, -2))

    def head(self, x: Share, table: Weight, tied: bool, bias: Weight | None = None) -> Share:
        with self._within("head.logits/head"):
            own = None if bias is None else bias.share
            return self.executor.linear(x, table, transposed=tied, bias=own)

    def open_logits(self, logits: Share) -> torch.Tensor | None:
        """The logits at the client. Reveals them to the client alone."""
        with self.span("output", "output"):
            return self.executor.open_to(CLIENT, logits)

    def _within(self, key: str) -> AbstractContextManager[None]:
        """Inside, products are as large as calibration saw them, and a margin; nothing is promised where it
        did not look. Of shapes without weights something is assumed."""
        if self._ranges is None:
            return self.executor.within(assumed_product(key))
        if key not in self._ranges:
            return nullcontext()
        return self.executor.within(PRODUCT_MARGIN * max(self._ranges[key], 1.0))

    def _norm_range(self, key: str) -> tuple[float, float]:
        """Least and greatest mean square that a norm is prepared for, margin included."""
        low, high = UNCALIBRATED
        if self._ranges is not None:
            try:
                low, high = self._ranges[f"{key}_min"], self._ranges[f"{key}_max"]
            except KeyError as missing:
                raise ConfigError(f"the model's ranges lack {missing}; calibrate it again") from None
        return low / MARGIN, high * MARGIN

    def _mean(self, x: Share) -> Share:
        """Mean over the last axis, kept with length 1.

        The sum is first divided by a power of two near the width, then multiplied by a number in (1/2, 1]:
        encoding 1 / width itself would cost up to width / 2^(frac_bits + 1) of relative error.
        """
        width = x.shape[-1]
        shift = max(0, math.ceil(math.log2(width)) - 1)
        return self.executor.mul_public(
            self.executor.shift_down(self.executor.sum(x, -1), shift), 2.0**shift / width
        )
