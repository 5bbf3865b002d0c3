"""Broken protocols: each has a fault that the conformance suite must find."""

from __future__ import annotations

import torch

from protocols.additive.arithmetic import Arithmetic
from protocols.additive.causal_rows import CausalRows
from protocols.additive.chebyshev import interpolate
from protocols.additive.exponential import QuarticExponential
from protocols.additive.maximum import TreeMaximum
from protocols.additive.operation import CausalProtocol, UnaryProtocol
from protocols.additive.reciprocal import GoldschmidtReciprocal
from protocols.additive.stock import StockGelu, exponential, reciprocal
from protocols.share import Share


class GeluWithoutPieces(UnaryProtocol):
    """A polynomial with nothing that keeps large numbers away from it."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 3e-3

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        v = engine.combination([(engine.square(x), 2.0 / 3.15**2)], -1.0)
        return interpolate(lambda u: 0.4 * (u + 1.0), -1.0, 1.0, 4)(engine, v, [(x, 0.5)])


class StockGeluEverywhere(UnaryProtocol):
    """CrypTen's GELU with a domain it does not have."""

    domain = (-1024.0, 1024.0)
    max_abs_error = StockGelu.max_abs_error

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        return StockGelu()(engine, x)


class MaskedSoftmax(CausalProtocol):
    """Hidden scores lowered by 10^4, into a range where CrypTen's exponential explodes."""

    max_spread = 400.0
    max_abs_error = 1e-2

    def __call__(self, engine: Arithmetic, scores: Share, start: int) -> Share:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.float64).triu(start + 1)
        masked = engine.add_public(scores, hidden * -1e4)
        peak = engine.native("max", masked, dim=len(scores.shape) - 1, keepdim=True)
        powers = exponential(engine, engine.sub(masked, peak))
        return engine.mul(powers, _reciprocal(engine, engine.sum(powers, -1)))


class SoftmaxBeyondReciprocal(CausalProtocol):
    """CrypTen's reciprocal on denominators that it cannot take."""

    max_spread = 300.0
    max_abs_error = 1e-2

    def __call__(self, engine: Arithmetic, scores: Share, start: int) -> Share:
        rows = CausalRows(scores.shape[-2], start)
        packed = rows.pack(engine, scores)
        peak = TreeMaximum()(engine, packed, rows.lengths)
        powers = QuarticExponential()(engine, engine.sub(packed, rows.spread(engine, peak)))
        powers = rows.unpack(engine, powers)
        return rows.hide(engine, engine.mul(powers, _reciprocal(engine, engine.sum(powers, -1))))


class SoftmaxThatSeesTheFuture(CausalProtocol):
    """Forgets who may see what."""

    max_spread = 300.0
    max_abs_error = 4e-3

    def __call__(self, engine: Arithmetic, scores: Share, start: int) -> Share:
        tokens, keys = scores.shape[-2:]
        flat = engine.rearrange(scores, lambda value: value.flatten(-2))
        peak = TreeMaximum()(engine, flat, (keys,) * tokens)
        peak = engine.rearrange(peak, lambda value: value.unsqueeze(-1))
        powers = QuarticExponential()(engine, engine.sub(scores, peak))
        inverse = GoldschmidtReciprocal(0.99, 1.01 * keys)
        weights = engine.mul(powers, inverse.scaled(engine, engine.sum(powers, -1)))
        return engine.shift_down(weights, inverse.scale_bits)


class MiscountedRelu(UnaryProtocol):
    """Takes a short cut where only shapes are looked at."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 0.0

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        negative = engine.less_than_zero(x)
        positive = engine.add_public(engine.neg(negative), 1.0)
        if x.value.is_meta:
            return engine.rearrange(positive, lambda value: value)
        return engine.mul(x, positive)


class ReluThatAdapts(UnaryProtocol):
    """Looks at the input in the clear and does less where it can."""

    domain = (-1024.0, 1024.0)
    max_abs_error = 0.0

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        seen = [engine.open_to(receiver, x) for receiver in (0, 1)][engine.rank]
        if seen is None or bool((seen >= 0).all()):
            return x
        negative = engine.less_than_zero(x)
        return engine.mul(x, engine.add_public(engine.neg(negative), 1.0))


def _reciprocal(engine: Arithmetic, total: Share) -> Share:
    """As CrypTen's softmax."""
    guess = exponential(engine, engine.add_public(engine.mul_integer(total, -2), 1.0))
    guess = engine.add_public(engine.mul_integer(guess, 3), 0.003)
    return reciprocal(engine, total, guess, 10)
