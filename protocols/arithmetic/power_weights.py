"""Causal attention weights from powers of scores, without a maximum and without an exponential."""

from __future__ import annotations

import math
from typing import final

import torch

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.inverse_sqrt import RangeReducedInverseSqrt
from protocols.arithmetic.operation import CausalPowerProtocol
from protocols.arithmetic.pattern_rows import Rows, rows_of
from protocols.arithmetic.reciprocal import GoldschmidtReciprocal
from protocols.key_pattern import KeyPattern
from protocols.share import Share

LARGEST_POWER, LEAST_MEAN = 2.0**14, 2.0**-10
"""Scores are scaled until their powers are below the one and divisors above the other."""
USUAL_POWER = 2.0**8
"""They are scaled down to this where divisors allow: large numbers make local truncation fail more often."""
LENGTH_BITS = 20
"""Fraction bits of one over a row's length."""
LONGEST = 1024
"""Keys for which errors are stated."""
WIDEST_GOLDSCHMIDT = 4096.0
"""Ratio of divisors beyond which two products with 1 / sqrt take the place of one with 1 / x."""


class SquaringPower(CausalPowerProtocol):
    """s^p / (mean s^p + epsilon) / L by squarings and one reciprocal a row.

    1. Pack the visible scores; s' = s / 2^e with a public e: the point moves.
    2. Powers of s': p = 2, 4, 8 by squarings, p = 6 as s'^2 s'^4.
    3. Means of rows: row sums times the public 2^LENGTH_BITS / L, truncated once; plus epsilon / 2^(e p).
    4. Their reciprocals r by Goldschmidt's iteration. Where divisors may vary by more than 4096, inverse
       square roots instead.
    5. Powers times r (for inverse square roots twice), times the public 1 / L; hidden keys get zeros.

    Reciprocals are taken of means, which vary less than sums.

    Source: Power-Softmax (Zimerman et al., arXiv 2410.09457), its length-agnostic form. Deviation: a
        reciprocal from a public range instead of a fixed number of iterations; epsilon L is added to the sum
        as in training, so that both are one function.
    """

    def __init__(self, power: int, low: float, high: float, largest: float) -> None:
        super().__init__(power, low, high, largest)
        self._shift = _shift(power, low, largest)
        scale = 2.0 ** (-self._shift * power)
        low, high = low * scale, high * scale
        self._wide = high > WIDEST_GOLDSCHMIDT * low
        if self._wide and self.polynomial:
            raise RangeError(
                f"divisors of powers over [{low / scale:.3g}, {high / scale:.3g}]: their ratio is beyond "
                f"{WIDEST_GOLDSCHMIDT:g}; train with a penalty on scores or a larger attention_epsilon"
            )
        # Means are brought to just above what reciprocals can take; less than that is not used up.
        self._raise = (-8 if self._wide else -4) - math.floor(math.log2(low))
        low, high = low * 2.0**self._raise, high * 2.0**self._raise
        self._root = RangeReducedInverseSqrt(low, high) if self._wide else None
        self._reciprocal = None if self._wide else GoldschmidtReciprocal(low, high)
        self.max_abs_error = self._error(low, high)

    def __call__(
        self,
        executor: Arithmetic,
        scores: Share,
        start: int,
        epsilon: float | Share,
        patterns: tuple[KeyPattern, ...] = (),
    ) -> Share:
        rows = rows_of(scores, start, patterns=patterns)
        powers = self._powers(executor, rows.pack(executor, scores))
        divisors = self._divisors(executor, rows, powers, epsilon)
        moved = LENGTH_BITS - self._raise
        if self._reciprocal is not None:
            inverse = self._reciprocal.scaled(executor, divisors)
            moved += self._reciprocal.scale_bits
            weights = executor.mul(powers, rows.spread(executor, _vector(executor, inverse)))
        else:
            assert self._root is not None
            inverse = rows.spread(executor, _vector(executor, self._root(executor, divisors)))
            weights = executor.mul(executor.mul(powers, inverse), inverse)
        weights = executor.mul_integer(weights, _shares(rows, packed=True))
        weights = executor.truncate(Share(weights.value, weights.frac_bits + moved), executor.frac_bits)
        return rows.unpack(executor, weights)

    def _powers(self, executor: Arithmetic, x: Share) -> Share:
        """Step 2 on s / 2^e."""
        if self._shift < 0:
            x = executor.mul_integer(x, 1 << -self._shift)
        square = executor.square(Share(x.value, x.frac_bits + max(self._shift, 0)))
        if self.power == 2:
            return square
        fourth = executor.square(square)
        if self.power == 6:
            return executor.mul(square, fourth)
        return fourth if self.power == 4 else executor.square(fourth)

    def _divisors(self, executor: Arithmetic, rows: Rows, powers: Share, epsilon: float | Share) -> Share:
        """(mean + epsilon) 2^(raise - e p), [..., T, 1]."""
        sums = executor.sum(rows.unpack(executor, powers), -1)
        sums = executor.mul_integer(sums, _shares(rows, packed=False))
        means = Share(sums.value, sums.frac_bits + LENGTH_BITS - self._raise)
        means = executor.truncate(means, executor.frac_bits)
        exponent = self._raise - self._shift * self.power
        if not isinstance(epsilon, Share):
            return executor.add_public(means, epsilon * 2.0**exponent)
        moved = Share(epsilon.value, epsilon.frac_bits - exponent)
        if moved.frac_bits < executor.frac_bits:
            moved = Share(
                executor.mul_integer(moved, 1 << (executor.frac_bits - moved.frac_bits)).value,
                executor.frac_bits,
            )
        moved = executor.truncate(moved, executor.frac_bits)
        return executor.add(means, executor.rearrange(moved, lambda value: value[:, None, None]))

    def _error(self, low: float, high: float) -> float:
        """Bound for rows of up to LONGEST keys; the range is that of divisors as step 4 takes them.

        A weight P / D, D the sum plus epsilon L, is off by at most (error of P) / D + (P / D) (error of D) /
        D. Powers are off by d(P), which grows slower than P, and D is at least P and L times the least mean
        m: so each term is at most d(m) / m. With units u: squares are off by u, and a square of Q + q by
        2 Q q + q^2 + u. Step 3 rounds once, two units at most; 1 / L is off by L 2^-(LENGTH_BITS + 1) of
        itself, twice; steps 4 and 5 add the reciprocal's error, and two products two units each.
        """
        unit, mean = 2.0**-16, low * 2.0**-self._raise
        base, off = mean ** (2.0 / self.power), unit
        if self.power > 2:
            fourth = 2 * base * off + off * off + unit
            if self.power == 4:
                off = fourth
            elif self.power == 6:
                off = base * fourth + base**2 * off + off * fourth + unit
            else:
                off = 2 * base**2 * fourth + fourth * fourth + unit
        share = off / mean
        if share >= 0.5:
            return 1.0
        rounding = 2 * unit / low + LONGEST * 2.0**-LENGTH_BITS
        stated = self._root or self._reciprocal
        assert stated is not None
        inverse = 2 * (stated.max_rel_error + 2 * unit * high**0.5) if self._wide else stated.max_rel_error
        # A weight of the step before the last is 2^raise L times what it becomes; its units shrink with it.
        products = 2 * unit * (1 + 2.0**self._raise) * (1 + 2.0**4 * self._wide)
        return (2 * share / (1 - share) + rounding + inverse) * 1.01 + products + 2 * unit


@final
class GoldschmidtPower(SquaringPower):
    """The same by additions and products alone: Goldschmidt's iteration for divisors up to a ratio of 4096.

    Wider divisors are refused; `squares` compares them with powers of four.

    Source: Power-Softmax (Zimerman et al., arXiv 2410.09457), which divides by Goldschmidt's iteration.
    """

    polynomial = True


def _shift(power: int, low: float, largest: float) -> int:
    """e: the largest power is at most USUAL_POWER, or the least mean LEAST_MEAN where that is not possible.

    Raises:
        RangeError: there is no such e.
    """
    if not (low > 0 and largest > 0):
        raise RangeError(
            f"powers of scores up to {largest:g} with divisors from {low:g}: both must be positive"
        )
    usual = math.ceil(math.log2(largest) - math.log2(USUAL_POWER) / power)
    shift = min(usual, math.floor((math.log2(low) - math.log2(LEAST_MEAN)) / power))
    if (largest * 2.0**-shift) ** power > LARGEST_POWER:
        raise RangeError(
            f"power {power} of scores up to {largest:g} with divisors from {low:.3g} spans more than 16 "
            "fraction bits hold: train with a range loss or a larger epsilon"
        )
    return shift


def _vector(executor: Arithmetic, rows: Share) -> Share:
    """[..., T, 1] -> [..., T]."""
    return executor.rearrange(rows, lambda value: value.squeeze(-1))


def _shares(rows: Rows, *, packed: bool) -> torch.Tensor:
    """2^LENGTH_BITS / L, rounded: of every row [T, 1] or [H, T, 1], or of every visible entry [N]."""
    lengths = torch.tensor(rows.lengths, dtype=torch.float64)
    shares = (2.0**LENGTH_BITS / lengths).round().to(torch.int64)
    return shares.repeat_interleave(torch.tensor(rows.lengths)) if packed else shares.reshape(*rows.each, 1)


def relu_weights(executor: Arithmetic, positive: Share, rows: Rows) -> Share:
    """Packed max(s, 0) over the lengths of their rows, [..., T, S].

    Error: L 2^-(LENGTH_BITS + 1) of itself and two units of the last place.
    """
    shares = executor.mul_integer(positive, _shares(rows, packed=True))
    weights = executor.truncate(Share(shares.value, positive.frac_bits + LENGTH_BITS), executor.frac_bits)
    return rows.unpack(executor, weights)
