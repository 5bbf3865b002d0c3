"""Norms that are a function of every number: a factor of the server's, one look-up, and rows at the server.

No row's mean square is needed, so that nothing but the layers that read it opens the residual: it stays at
the server, as in blocks without norms.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.bounds import Seen, integer_bits
from mpcinfer.models.kinds import ActivationKind
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.precision import Precision, fits, ring
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.line_tanh import RESULT_FRAC
from protocols.fss.gates.linear import ToServerHeld
from protocols.fss.operations.cap_protocols import CapFormats
from protocols.fss.operations.rescale import narrow, open_truncated, truncate_locally
from protocols.fss.operations.suite import FssSuite
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class PointwiseWidths:
    """Rings around a pointwise norm's function.

    Attributes:
        in_bits: ring bits of the residual times the factor.
        open_bits: of it as it is opened.
        integer: log2 of the bound on it, sign included.
    """

    in_bits: int
    open_bits: int
    integer: int


def pointwise_widths(label: str, seen: Seen, assumed: float, p: Precision) -> PointwiseWidths:
    """Widths of a norm from how large its function's arguments get.

    Args:
        label: of the norm; what it reads is in the ranges under `in`.
        assumed: for a shape without weights, margin included.

    Raises:
        RangeError: they need more than 64 bits.
    """
    largest, scale = seen.largest(f"{label}/in", assumed), p.residual + p.weight
    open_bits = ring(largest, p.activation, slack=2, what=label)
    own = max(open_bits + scale - p.activation, integer_bits(largest) + scale + 2)
    return PointwiseWidths(in_bits=fits(own, label), open_bits=open_bits, integer=integer_bits(largest) + 1)


def pointwise_rows(p: Precision, *, exact_truncation: bool) -> NormWidths:
    """What such a norm leaves: numbers up to 1. Where truncation is exact a table has them as they are sent,
    elsewhere lines have more bits, which are cut."""
    frac = p.held if exact_truncation else RESULT_FRAC
    return NormWidths(low=1.0, high=1.0, input_frac=frac, frac=0, held=p.held, square_bits=1)


def pointwise_norm(
    executor: Executor,
    suite: FssSuite,
    kind: ActivationKind,
    x: Share,
    widths: PointwiseWidths,
    rows: NormWidths,
    ring_bits: int,
    p: Precision,
) -> Share:
    """tanh or erf of what the server has whole, held by the server in the ring of the layer that reads it.

    Cost: 2 messages and the look-up's round; where truncation is exact, as many more as `TruncateExactly`
        has.
    """
    (x,) = open_truncated(executor, (x, p.activation, widths.open_bits))
    index_frac = suite.cap.index_frac(p.activation, widths.integer)
    formats = CapFormats(
        kind=kind,
        height=1.0,
        index_bits=widths.integer + index_frac,
        index_frac=index_frac,
        ring_bits=ring_bits,
        frac_bits=rows.held,
    )
    (y,) = suite.cap(executor, formats, narrow(executor, (x, index_frac, formats.index_bits)))
    return executor.one(ToServerHeld(), truncate_locally(executor, y, rows.held))
