"""Rings, fraction bits and ranges around the FSS suite's nonlinear steps: from a model's widths.

Functions are made once for each set of widths, so that their tables are, too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mpcinfer.suites.fss.attention_widths import AttentionWidths, NormWidths
from mpcinfer.suites.fss.ffn_widths import FfnWidths
from mpcinfer.suites.fss.precision import Precision, ring
from protocols.fss.operations.activation_protocols import ActivationFormats, ActivationProtocol
from protocols.fss.operations.cap_protocols import CapFormats, CapProtocol
from protocols.fss.operations.exponential_protocols import ExponentialFormats
from protocols.fss.operations.powers import PowerFormats
from protocols.fss.operations.suite import RangeReductionFormats
from protocols.fss.tables.binade_cells import Function

_CAPPED_FINER = 2
"""Fraction bits that capped scores have beyond an index of exp."""
_ABOVE = 1.1
"""Inverses may be above that of the least number: lines near it are read a cell below."""


def activation_formats(
    protocol: ActivationProtocol, ffn: FfnWidths, p: Precision, frac_bits: int, *, exact_truncation: bool
) -> ActivationFormats:
    """Around an activation of a value with `frac_bits` fraction bits."""
    index_frac = protocol.index_frac(p.index, frac_bits)
    return ActivationFormats(
        largest=ffn.largest,
        ring_bits=ffn.activation_bits,
        frac_bits=frac_bits,
        index_bits=ffn.index_bits + index_frac - p.index,
        index_frac=index_frac,
        table_frac=min(p.table + protocol.finer_bits, frac_bits),
        centred=exact_truncation,
    )


def exponential_formats(
    attention: AttentionWidths,
    p: Precision,
    *,
    coarse: bool,
    exact_truncation: bool,
    index_frac: int | None = None,
) -> ExponentialFormats:
    """Around exp of a row's maximum, coarse or exact, minus its scores.

    Args:
        index_frac: of the scores; None for the usual.
    """
    frac = p.score if index_frac is None else index_frac
    return ExponentialFormats(
        ring_bits=attention.mix_bits,
        frac_bits=p.power,
        index_bits=score_index_bits(attention, frac),
        index_frac=frac,
        low=-(2.0**p.step) - 2.0 ** (1 - frac) if coarse else 0.0,
        centred=exact_truncation,
    )


def kernel_formats(
    attention: AttentionWidths, p: Precision, *, index_frac: int, exact_truncation: bool
) -> ExponentialFormats:
    """Around exp of half a squared distance, which rounding may leave a little below zero."""
    return ExponentialFormats(
        ring_bits=attention.mix_bits,
        frac_bits=p.power,
        index_bits=score_index_bits(attention, index_frac),
        index_frac=index_frac,
        low=-0.25 - 2.0 ** (1 - index_frac),
        centred=exact_truncation,
    )


def cap_formats(
    protocol: CapProtocol, attention: AttentionWidths, p: Precision, cap: float, *, exact_truncation: bool
) -> CapFormats:
    """Around a cap of scores. What is truncated exactly is read once more, rounded down."""
    frac_bits = p.score + (_CAPPED_FINER if exact_truncation else 0)
    index_frac = protocol.index_frac(p.score, attention.product_integer + 1)
    return CapFormats(
        height=cap,
        index_bits=attention.product_integer + 1 + index_frac,
        index_frac=index_frac,
        ring_bits=score_index_bits(attention, frac_bits),
        frac_bits=frac_bits,
    )


def power_formats(attention: AttentionWidths, p: Precision, power: int) -> PowerFormats:
    """Around a power of scores."""
    return PowerFormats(
        power=power,
        integer_bits=attention.score_integer,
        square_frac=p.square,
        factor_frac=attention.weighting.factor,
        ring_bits=attention.mix_bits,
    )


def relu_formats(
    protocol: ActivationProtocol, attention: AttentionWidths, p: Precision, *, exact_truncation: bool
) -> ActivationFormats:
    """Around ReLU of scores."""
    index_frac = protocol.index_frac(p.index, attention.weighting.frac)
    return ActivationFormats(
        largest=attention.weighting.scores,
        ring_bits=attention.mix_bits,
        frac_bits=attention.weighting.frac,
        index_bits=score_index_bits(attention, index_frac),
        index_frac=index_frac,
        table_frac=min(p.table + protocol.finer_bits, attention.weighting.frac),
        centred=exact_truncation,
    )


def score_index_bits(attention: AttentionWidths, frac_bits: int) -> int:
    """The ring of scores, and of how far they are below their row's maximum."""
    return attention.score_integer + 1 + frac_bits


@lru_cache(maxsize=256)
def reciprocal(
    attention: AttentionWidths, p: Precision, *, exact_truncation: bool
) -> tuple[Function, RangeReductionFormats]:
    """1 / x of a row's divisor: a sum of exp, or a mean of powers plus epsilon, as 2^row_bits keys have it.

    A row may count as up to twice as many keys as it should (`Weighting`), never as fewer.
    """
    weights = attention.weighting
    unit = 2.0 ** (weights.frac + weights.row_bits)
    low = weights.low / (2.0 if weights.row_bits else 1.0)

    def function(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return unit / np.maximum(sums, 1.0)

    return function, RangeReductionFormats(
        low=low * unit,
        high=weights.high * unit * 1.01,
        cells_bits=p.exact_cells if exact_truncation else p.cells,
        ring_bits=ring(_ABOVE / low, weights.inverse, slack=2, what="a reciprocal"),
        frac_bits=weights.inverse,
        exact_truncation=exact_truncation,
        unit=unit,
    )


@lru_cache(maxsize=256)
def inverse_root(
    norm: NormWidths, p: Precision, *, width: int, eps: float, exact_truncation: bool
) -> tuple[Function, RangeReductionFormats]:
    """1 / sqrt(mean + eps) of the sum of squares of a row of `width` elements."""
    unit = 4.0**norm.input_frac * width

    def function(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / np.sqrt(squares / unit + eps)

    return function, RangeReductionFormats(
        low=norm.low * unit,
        high=norm.high * unit,
        cells_bits=p.exact_cells if exact_truncation else p.cells,
        ring_bits=ring(_ABOVE / math.sqrt(norm.low + eps), norm.frac, slack=2, what="an inverse root"),
        frac_bits=norm.frac,
        exact_truncation=exact_truncation,
        unit=unit,
        added=eps,
    )
