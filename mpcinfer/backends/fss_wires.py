"""Rings, fraction bits and ranges around the FSS suite's nonlinear steps: from a model's widths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpcinfer.models.widths import AttentionWidths, FfnWidths, NormWidths, Precision
from protocols.fss.octave_cells import Function
from protocols.fss.suite import ActivationProtocol, ActivationWires, ExponentialWires, OctaveWires


def activation_wires(
    protocol: ActivationProtocol, ffn: FfnWidths, p: Precision, frac_bits: int, *, faithful: bool
) -> ActivationWires:
    """Around an activation of a value with `frac_bits` fraction bits."""
    return ActivationWires(
        ring_bits=ffn.out_bits,
        frac_bits=frac_bits,
        index_bits=ffn.index_bits + protocol.finer_bits,
        index_frac=p.index + protocol.finer_bits,
        table_frac=min(p.table + protocol.finer_bits, frac_bits),
        centred=faithful,
    )


def exponential_wires(
    attention: AttentionWidths, p: Precision, *, coarse: bool, faithful: bool
) -> ExponentialWires:
    """Around exp of a row's maximum, coarse or exact, minus its scores."""
    return ExponentialWires(
        ring_bits=attention.mix_bits,
        frac_bits=p.power,
        index_bits=score_index_bits(attention, p.score),
        index_frac=p.score,
        low=-(2.0**p.step) - 2.0 ** (1 - p.score) if coarse else 0.0,
        centred=faithful,
    )


def score_index_bits(attention: AttentionWidths, frac_bits: int) -> int:
    """The ring of scores, and of how far they are below their row's maximum."""
    return attention.score_integer + 1 + frac_bits


def reciprocal(attention: AttentionWidths, p: Precision, *, faithful: bool) -> tuple[Function, OctaveWires]:
    """1 / x of a row's sum of powers, of which one is at least exp(-2^step)."""
    unit = 2.0**p.power

    def function(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return unit / np.maximum(sums, 1.0)

    return function, OctaveWires(
        low=float(np.exp(-(2.0**p.step) - 0.125)) * unit,
        high=attention.largest_sum * unit * 1.01,
        cells_bits=p.cells,
        ring_bits=attention.out_bits,
        frac_bits=attention.inverse,
        faithful=faithful,
    )


def inverse_root(
    norm: NormWidths, p: Precision, ring_bits: int, *, width: int, eps: float, faithful: bool
) -> tuple[Function, OctaveWires]:
    """1 / sqrt(mean + eps) of the sum of squares of a row of `width` elements."""
    unit = 4.0**norm.keep * width

    def function(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / np.sqrt(squares / unit + eps)

    return function, OctaveWires(
        low=norm.low * unit,
        high=norm.high * unit,
        cells_bits=p.cells,
        ring_bits=ring_bits,
        frac_bits=norm.frac,
        faithful=faithful,
    )
