"""What the widths of all layers share: of the residual, of norms, and of attention's weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property

from mpcinfer.models.bounds import (
    MARGIN,
    POLYNOMIAL_PROFILE,
    POST_NORM_PROFILE,
    POWER_MARGIN,
    PROFILE,
    Profile,
    Seen,
)
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.norm_kinds import POINTWISE
from mpcinfer.models.residual_labels import residual_labels
from mpcinfer.suites.fss.attention_widths import NormWidths, Weighting, weighting
from mpcinfer.suites.fss.pointwise_norms import PointwiseWidths, pointwise_rows, pointwise_widths
from mpcinfer.suites.fss.precision import RING_BITS, Precision, fits, ring

LEAST_WRITING = 10
"""Fraction bits that the weights after attention keep, or its output is opened and cut."""
DEFAULT_MAX_CONTEXT = 1024
"""Tokens that a session holds where nobody says how many."""


def session_context(config: ModelConfig, max_context: int | None) -> int:
    """The most tokens of a session: as it was asked for, or the default where the model has as many."""
    return min(DEFAULT_MAX_CONTEXT, config.context) if max_context is None else max_context


def _precision(config: ModelConfig) -> Precision:
    """The defaults; without norms of rows the residual stays in one ring, which weights must share."""
    usual = Precision()
    if not config.row_norms:
        usual = Precision(weight=13, mixed=10, value=11, power=12, score=10)
    # Half squares have a key's fraction bits, and are differences of large numbers.
    return dataclasses.replace(usual, key=usual.query) if config.attention == "gaussian" else usual


class SharedWidths:
    """Widths of a model's residual, and of what reads and writes it.

    Args:
        config: the shape.
        ranges: calibrated ranges, see `mpcinfer.models.ranges`; None for `PROFILE`.
        max_context: the most tokens a session will hold; at most the context. Sums over keys need bits for
            it. None for `DEFAULT_MAX_CONTEXT`.
        precision: fraction bits.
        exact_truncation: exact truncation needs a bit of slack where probabilistic truncation needs none.
        padded: sequences may have padding, which attention must not see.
        polynomial: a shape without weights is one that was trained for polynomials.
        state: attention has a prefix's state beside its keys.
        states: (power 2) values are in the ring of states, into which they move.

    Raises:
        RangeError: something needs more than 64 bits.
        ConfigError: the ranges lack something.
    """

    def __init__(
        self,
        config: ModelConfig,
        ranges: Mapping[str, float] | None = None,
        *,
        max_context: int | None = None,
        precision: Precision | None = None,
        exact_truncation: bool = False,
        padded: bool = False,
        polynomial: bool = False,
        state: bool = False,
        states: bool = False,
    ) -> None:
        self.padded, self._polynomial = padded, polynomial
        self._prefixed, self._states = state, states
        self.config, self._seen, self._exact_truncation = config, Seen(ranges), exact_truncation
        self.max_context = min(session_context(config, max_context), config.context)
        self.precision = precision or _precision(config)

    @cached_property
    def residual_bits(self) -> int:
        """The residual; a bit of slack lets norms read it into wider rings."""
        largest = self._profile.residual
        if self._seen.ranges is not None:
            labels = residual_labels(self.config)
            largest = MARGIN * max(self._seen.ranges.get(label, 0.0) for label in labels)
        return ring(largest, self.precision.residual, slack=2, what="the residual")

    @property
    def _profile(self) -> Profile:
        """What is assumed of a shape without weights."""
        if self.config.norm_order == "post":
            return POST_NORM_PROFILE
        return POLYNOMIAL_PROFILE if self._polynomial else PROFILE

    @cached_property
    def held_bits(self) -> int:
        """The residual at the server, without norms of rows: as wide as what attention adds allows.

        A layer that reads it and needs more gets it through both parties.
        """
        p = self.precision
        drop = max(self._quotient_frac(w) + self._writing(w) for w in self._weightings) - p.residual
        return min(RING_BITS - max(drop, p.activation + p.weight - p.residual), RING_BITS)

    @cached_property
    def _weightings(self) -> list[Weighting]:
        """Every layer's."""
        layers = range(self.config.layers)
        return [
            weighting(
                self.config,
                layer,
                self._seen,
                self.precision,
                self.max_context,
                padded=self.padded,
                state=self._prefixed,
            )
            for layer in layers
        ]

    def _room(self, weights: Weighting) -> int:
        """Bits that a ring of the residual has left for the weights that read attention's output with all
        its fraction bits."""
        return RING_BITS - (self.residual_bits - self.precision.residual) - weights.mixed - weights.inverse

    def _has_room(self, weights: Weighting) -> bool:
        """Whether the ring has enough bits left for these weights."""
        return self._room(weights) >= min(LEAST_WRITING, self.precision.weight)

    def _writing(self, weights: Weighting) -> int:
        """Fraction bits of the weights that read attention's output."""
        room = self._room(weights) if self._has_room(weights) else RING_BITS
        return min(room, self.precision.weight)

    def _quotient_frac(self, weights: Weighting) -> int:
        """Fraction bits of attention's output as the next layer reads it."""
        return weights.mixed + weights.inverse if self._has_room(weights) else self.precision.mixed

    def _held(self, frac_bits: int) -> int:
        """Fraction bits that are left of so many when a product goes to the server."""
        return frac_bits if self._exact_truncation else min(frac_bits, self.precision.held)

    def _finer(self, room: int) -> int:
        """Bits that weights have beyond the usual, of those that a ring has room for.

        None where the residual is read as it is: its ring is short.
        """
        p = self.precision
        return min(p.reading - p.weight, max(room, 0)) if self.config.block_norms else 0

    def _read(self, label: str) -> tuple[NormWidths, int, int]:
        """The input of a linear layer, a norm's rows or the residual; fraction bits of its result, and the
        widest ring it can have."""
        p = self.precision
        if not self.config.block_norms:
            return self._norm(label, *PROFILE.mean_square), p.residual + p.weight, self.held_bits
        norm = self._norm(label)
        return norm, norm.input_frac + norm.frac + p.weight, RING_BITS

    def pointwise(self, label: str) -> PointwiseWidths:
        """Rings around the function that a norm is."""
        return pointwise_widths(label, self._seen, self._profile.norm_input, self.precision)

    def _norm(
        self, label: str, low: float = 0.0, high: float = 0.0, *, width: int | None = None
    ) -> NormWidths:
        """A norm of rows whose mean squares are between two numbers, which a block without norms has not:
        calibrated, where none are given."""
        p, missing = self.precision, high > 0
        if not missing and self.config.norm in POINTWISE:
            return pointwise_rows(p, exact_truncation=self._exact_truncation)
        if not missing:
            low, high = self._mean_squares(label)
        input_frac = min(max(p.row - math.floor(math.log2(low) / 2), 4), p.residual)
        frac = p.inverse + math.ceil(math.log2(high) / 2)
        squares = ring(
            high * (width or self.config.width), 2 * input_frac, slack=2, what=f"{label}: sum of squares"
        )
        frac = max(frac, 2)
        held = input_frac + frac if missing else self._held(input_frac + frac)
        return NormWidths(
            low=low, high=high, input_frac=input_frac, frac=frac, held=held, square_bits=squares
        )

    def _mean_squares(self, label: str) -> tuple[float, float]:
        if self._seen.ranges is None:
            return self._profile.mean_square
        kind = "variance" if self.config.norm == "layernorm" else "mean_square"
        low = max(self._seen.range(f"{label}/{kind}_min") / POWER_MARGIN, self.config.norm_eps)
        return low, self._seen.range(f"{label}/{kind}_max") * POWER_MARGIN

    def _into_residual(self, largest: float, scale: int, what: str) -> int:
        """The ring of a linear layer whose result is truncated into the residual."""
        p = self.precision
        own = ring(largest, scale, slack=2, what=what)
        wide = self.residual_bits if self.config.row_norms else self.held_bits
        return fits(max(own, wide + scale - p.residual), what)
