"""Rows of linear layers that are made ahead: a ciphertext has room for more than one token's."""

from __future__ import annotations

import math

from protocols.rlwe.parameters import LEAST_ROWS
from protocols.two_party.correlations import Kind, Request

StockId = tuple[str, Kind, int]


def rows_of(request: Request) -> int:
    """Rows that a linear layer takes."""
    return math.prod(request.shapes[0][:-1])


def stock_id(request: Request) -> StockId:
    """Which rows that were made before can be used."""
    return request.weight, request.kind, request.bits


class Stock:
    """How many rows are there, by layer; the same at both parties and where costs are counted."""

    def __init__(self) -> None:
        self._left: dict[StockId, int] = {}

    def take(self, request: Request) -> int:
        """Takes a request's rows, and says how many have to be made for that: whole ciphertexts' worth.

        Those left are for the layer's next uses, and cost their part of the answer alone.
        """
        identity, rows = stock_id(request), rows_of(request)
        left = self._left.get(identity, 0)
        made = -(-max(rows - left, 0) // LEAST_ROWS) * LEAST_ROWS
        self._left[identity] = left + made - rows
        return made
