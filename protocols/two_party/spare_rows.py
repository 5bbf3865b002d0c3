"""Rows of linear layers and attention that are made ahead: a ciphertext has room for many tokens'."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Block:
    """Tokens that are made together for a layer's attention.

    Attributes:
        kept: tokens whose rows were made before and stay; fresh ones follow them.
        fresh: how many; 0 where there are enough.
        product: what has to be multiplied for them.
    """

    kept: int
    fresh: int
    product: Request


class KeptStock:
    """How many tokens' rows of attention are there, by layer; as `Stock`."""

    def __init__(self) -> None:
        self._ends: dict[StockId, tuple[int, int]] = {}

    def take(self, request: Request) -> Block:
        """Takes a request's tokens, and says what has to be made for that.

        Tokens that come where others were before, forgotten since, get rows that were never used: those from
        there on are forgotten too.
        """
        identity, tokens, keys = stock_id(request), request.shapes[0][-2], request.shapes[1][-2]
        start = keys - tokens
        made, used = self._ends.get(identity, (0, 0))
        assert start <= used, f"{request.weight}: token {start} after {used}"
        kept = made if start == used else start
        fresh = -(-max(keys - kept, 0) // LEAST_ROWS) * LEAST_ROWS
        self._ends[identity] = kept + fresh, keys
        return Block(kept, fresh, _product(request, kept + fresh, fresh))


def _product(request: Request, tokens: int, fresh: int) -> Request:
    """Rows of the last `fresh` of so many tokens times all of theirs, as a product of private matrices."""
    *lead, groups, _, width = request.shapes[0]
    rows = groups * fresh
    if request.kind is Kind.SCORES:
        shapes = ((*lead, rows, width), (*lead, width, tokens))
    else:
        shapes = ((*lead, rows, tokens), (*lead, tokens, width))
    return Request(Kind.MATMUL, shapes, request.bits)
