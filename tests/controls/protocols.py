"""Broken protocols: each has a fault that the conformance suite must find."""

from __future__ import annotations

import torch

from protocols.additive.stock import StockGelu, exponential, reciprocal
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.causal_rows import CausalRows
from protocols.arithmetic.chebyshev import interpolate
from protocols.arithmetic.exponential import QuarticExponential
from protocols.arithmetic.maximum import TreeMaximum
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.arithmetic.reciprocal import GoldschmidtReciprocal
from protocols.share import Share


class GeluWithoutPieces(UnaryProtocol):
    """A polynomial with nothing that keeps large numbers away from it."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 3e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        v = executor.combination([(executor.square(x), 2.0 / 3.15**2)], -1.0)
        return interpolate(lambda u: 0.4 * (u + 1.0), -1.0, 1.0, 4)(executor, v, [(x, 0.5)])


class StockGeluEverywhere(UnaryProtocol):
    """CrypTen's GELU with a domain it does not have."""

    domain = (-1024.0, 1024.0)
    max_abs_error = StockGelu.max_abs_error

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return StockGelu()(executor, x)


class MaskedSoftmax(CausalProtocol):
    """Hidden scores lowered by 10^4, into a range where CrypTen's exponential explodes."""

    max_spread = 400.0
    max_abs_error = 1e-2

    def __call__(self, executor: Arithmetic, scores: Share, start: int) -> Share:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.float64).triu(start + 1)
        masked = executor.add_public(scores, hidden * -1e4)
        peak = executor.native("max", masked, dim=len(scores.shape) - 1, keepdim=True)
        powers = exponential(executor, executor.sub(masked, peak))
        return executor.mul(powers, _reciprocal(executor, executor.sum(powers, -1)))


class SoftmaxBeyondReciprocal(CausalProtocol):
    """CrypTen's reciprocal on denominators that it cannot take."""

    max_spread = 300.0
    max_abs_error = 1e-2

    def __call__(self, executor: Arithmetic, scores: Share, start: int) -> Share:
        rows = CausalRows(scores.shape[-2], start)
        packed = rows.pack(executor, scores)
        peak = TreeMaximum()(executor, packed, rows.lengths)
        powers = QuarticExponential()(executor, executor.sub(packed, rows.spread(executor, peak)))
        powers = rows.unpack(executor, powers)
        return rows.hide(executor, executor.mul(powers, _reciprocal(executor, executor.sum(powers, -1))))


class SoftmaxThatSeesTheFuture(CausalProtocol):
    """Forgets who may see what."""

    max_spread = 300.0
    max_abs_error = 4e-3

    def __call__(self, executor: Arithmetic, scores: Share, start: int) -> Share:
        tokens, keys = scores.shape[-2:]
        flat = executor.rearrange(scores, lambda value: value.flatten(-2))
        peak = TreeMaximum()(executor, flat, (keys,) * tokens)
        peak = executor.rearrange(peak, lambda value: value.unsqueeze(-1))
        powers = QuarticExponential()(executor, executor.sub(scores, peak))
        inverse = GoldschmidtReciprocal(0.99, 1.01 * keys)
        weights = executor.mul(powers, inverse.scaled(executor, executor.sum(powers, -1)))
        return executor.shift_down(weights, inverse.scale_bits)


class MiscountedRelu(UnaryProtocol):
    """Takes a short cut where only shapes are looked at."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 0.0

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        negative = executor.less_than_zero(x)
        positive = executor.add_public(executor.neg(negative), 1.0)
        if x.value.is_meta:
            return executor.rearrange(positive, lambda value: value)
        return executor.mul(x, positive)


class ReluThatAdapts(UnaryProtocol):
    """Looks at the input in the clear and does less where it can."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 0.0

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        seen = [executor.open_to(receiver, x) for receiver in (0, 1)][executor.rank]
        if seen is None or bool((seen >= 0).all()):
            return x
        negative = executor.less_than_zero(x)
        return executor.mul(x, executor.add_public(executor.neg(negative), 1.0))


def _reciprocal(executor: Arithmetic, total: Share) -> Share:
    """As CrypTen's softmax."""
    guess = exponential(executor, executor.add_public(executor.mul_integer(total, -2), 1.0))
    guess = executor.add_public(executor.mul_integer(guess, 3), 0.003)
    return reciprocal(executor, total, guess, 10)
