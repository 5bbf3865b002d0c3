"""Rows of linear layers that are made ahead: a ciphertext has room for more than one token's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.two_party.correlations import Kind, Request
from protocols.two_party.rlwe.parameters import LEAST_ROWS

StockId = tuple[str, Kind, int, int]


def rows_made(request: Request) -> int:
    """Rows of a linear layer that are made at once: a ciphertext has room for `LEAST_ROWS` at least."""
    rows = math.prod(request.shapes[0][:-1])
    return rows if rows > LEAST_ROWS // 2 else LEAST_ROWS


def stock_id(request: Request) -> StockId:
    """Which rows that were made before can be used."""
    return request.weight, request.kind, request.bits, rows_made(request)


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a request's rows are among those that were made together.

    Attributes:
        start, end: first row, and the one after the last.
        is_new: they have to be made first.
        is_last: too few are left for another request of as many.
    """

    start: int
    end: int
    is_new: bool
    is_last: bool


class Stock:
    """How many rows are there, by layer; the same at both parties and where costs are counted."""

    def __init__(self) -> None:
        self._left: dict[StockId, int] = {}

    def take(self, request: Request) -> Taken:
        """The next rows of those that were made, or of new ones."""
        identity, rows, made = stock_id(request), math.prod(request.shapes[0][:-1]), rows_made(request)
        left = self._left.get(identity, 0)
        is_new = left < rows
        left = made if is_new else left
        self._left[identity] = left - rows
        return Taken(made - left, made - left + rows, is_new, left == rows)
