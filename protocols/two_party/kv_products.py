"""Correlations of attention: rows of masks for tokens, times the masks of all keys or values so far."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from parties.errors import CorrelationExhausted
from parties.randomness import Randomness
from protocols.arithmetic.shapes import Shape
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.spare_rows import Block, KeptStock, StockId, stock_id

Factors = tuple[torch.Tensor, torch.Tensor]
Multiply = Callable[[Sequence[Request], Sequence[Factors]], list[torch.Tensor]]
"""This party's shares of matrix products, of its summands of both factors."""


@dataclass(slots=True)
class _Rows:
    """What a layer has.

    Attributes:
        right: this party's summands of all tokens' masks [..., H_kv, M, K].
        left, products: of those tokens that were not used yet [..., H_kv, G, U, n].
    """

    right: torch.Tensor
    left: torch.Tensor
    products: torch.Tensor


class KeptRows:
    """One party's rows, of all layers.

    Args:
        multiply: makes products with the other party.
        random: this party's own.
    """

    def __init__(self, multiply: Multiply, random: Randomness) -> None:
        self._multiply, self._random = multiply, random
        self._stock = KeptStock()
        self._rows: dict[StockId, _Rows] = {}

    def make(self, requests: Sequence[Request]) -> list[Parts]:
        """This party's parts of each request, as `Correlations.take` has them.

        Raises:
            CorrelationExhausted: tokens that come again, among requests that are made together.
        """
        _require_forward(requests)
        blocks = [self._stock.take(request) for request in requests]
        lacking = [pair for pair in zip(requests, blocks, strict=True) if pair[1].fresh]
        factors = [self._factors(*pair) for pair in lacking]
        made = self._multiply([block.product for _, block in lacking], factors)
        for (request, block), (left, _), product in zip(lacking, factors, made, strict=True):
            self._add(request, block, left, product)
        return [self._taken(request) for request in requests]

    def _factors(self, request: Request, block: Block) -> Factors:
        """This party's summands of both factors of a block's product; those of the right one are kept."""
        *lead, groups, _, width = request.shapes[0]
        rows = self._rows.get(stock_id(request))
        if rows is None or rows.right.shape[-2] != block.kept:
            before = torch.zeros((*lead, 0, width), dtype=torch.int64) if rows is None else rows.right
            rows = _without_left(request, before[..., : block.kept, :])
            self._rows[stock_id(request)] = rows
        fresh = self._words((*lead, block.fresh, width), request.bits)
        rows.right = torch.cat([rows.right, fresh], -2)
        if request.kind is Kind.SCORES:
            left = self._words((*lead, groups, block.fresh, width), request.bits)
            return left.flatten(-3, -2), rows.right.transpose(-1, -2)
        left = self._words((*lead, groups, block.fresh, block.kept + block.fresh), request.bits)
        return left.tril(block.kept).flatten(-3, -2), rows.right

    def _add(self, request: Request, block: Block, left: torch.Tensor, product: torch.Tensor) -> None:
        """A block's rows, after those that were not used yet."""
        rows = self._rows[stock_id(request)]

        def joined(there: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
            wider = torch.nn.functional.pad(there, (0, more.shape[-1] - there.shape[-1]))
            return torch.cat([wider, more.reshape(*there.shape[:-2], block.fresh, -1)], -2)

        rows.left, rows.products = joined(rows.left, left), joined(rows.products, product)

    def _taken(self, request: Request) -> Parts:
        """The next tokens' rows, up to the keys that they may see."""
        rows, tokens, keys = self._rows[stock_id(request)], request.shapes[0][-2], request.shapes[1][-2]
        left, products = (part[..., :tokens, :] for part in (rows.left, rows.products))
        rows.left, rows.products = (part[..., tokens:, :].clone() for part in (rows.left, rows.products))
        if request.kind is Kind.SCORES:
            products = products[..., :keys]
        else:
            left = left[..., :keys]
        return left, rows.right[..., keys - tokens : keys, :], products

    def _words(self, shape: Shape, bits: int) -> torch.Tensor:
        return torch.from_numpy(self._random.words(shape, bits))


def _require_forward(requests: Sequence[Request]) -> None:
    """Of a layer's requests that are made together each follows the one before: masks that replace others
    would be taken for both."""
    ends: dict[StockId, int] = {}
    for request in requests:
        tokens, keys = request.shapes[0][-2], request.shapes[1][-2]
        if keys - tokens < ends.get(stock_id(request), 0):
            raise CorrelationExhausted(f"{request.weight}: tokens that come again, made together with others")
        ends[stock_id(request)] = keys


def _without_left(request: Request, right: torch.Tensor) -> _Rows:
    """A layer's rows where none are left."""
    *lead, groups, _, width = request.shapes[0]
    last = (width, 0) if request.kind is Kind.SCORES else (0, width)
    left, products = (torch.zeros((*lead, groups, 0, n), dtype=torch.int64) for n in last)
    return _Rows(right, left, products)
