"""Norms of rows that both parties have masked: over the root of their mean square, to the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.formats import inverse_root
from mpcinfer.suites.fss.precision import Precision
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.linear import ToServerHeld
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product, SumOfSquares
from protocols.fss.operations.rescale import truncate_locally, views
from protocols.fss.operations.suite import FssSuite
from protocols.share import Share


@dataclass(frozen=True, slots=True)
class Rows:
    """Masked rows [.., D], the formats around their norm, and the ring of the layer that reads it."""

    x: Share
    widths: NormWidths
    ring_bits: int


def over_roots(
    executor: Executor, suite: FssSuite, p: Precision, eps: float, rows: Sequence[Rows]
) -> list[Share]:
    """Each row over the root of its mean square, held by the server; of several inputs together.

    Cost: 3 rounds, however many inputs there are.
    """
    inputs = views(executor, *((each.x, each.widths.input_frac) for each in rows))
    squares = executor.apply(
        Open(),
        *(
            executor.one(SumOfSquares(each.widths.square_bits), x)
            for x, each in zip(inputs, rows, strict=True)
        ),
    )
    roots = [_inverse_root(executor, suite, p, eps, *each) for each in zip(rows, squares, strict=True)]
    opened = executor.apply(Open(), *roots)
    inverses = views(executor, *((x, each.widths.frac) for x, each in zip(opened, rows, strict=True)))
    products = [
        executor.one(Product(each.ring_bits + each.widths.dropped_bits), x, inverse)
        for each, x, inverse in zip(rows, inputs, inverses, strict=True)
    ]
    return [
        executor.one(ToServerHeld(), truncate_locally(executor, product, each.widths.held))
        for each, product in zip(rows, products, strict=True)
    ]


def _inverse_root(
    executor: Executor, suite: FssSuite, p: Precision, eps: float, rows: Rows, squares: Share
) -> Share:
    width, exact_truncation = rows.x.shape[-1], executor.exact_truncation
    root = inverse_root(rows.widths, p, width=width, eps=eps, exact_truncation=exact_truncation)
    return suite.inverse_sqrt(executor, *root, squares)
