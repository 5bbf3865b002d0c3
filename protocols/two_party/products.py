"""Products of random numbers, and of small random matrices, by oblivious transfer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from protocols.arithmetic.shapes import Shape
from protocols.tensors import to_tensor
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.recipe import Costs, Maker, count_cross_products, cross_products


def make_products(maker: Maker, group: Sequence[Request], bits: int) -> list[Parts]:
    """This party's shares of a, b and their product for each request, elementwise or of matrices.

    Two products of private numbers for each product of two entries; those of a matrix product are added up.
    """
    factors = [
        [to_tensor(maker.words(math.prod(shape), bits)).reshape(shape) for shape in request.shapes]
        for request in group
    ]
    flat = [
        torch.cat(
            [_entries(request, pair[i], i).reshape(-1) for pair, request in zip(factors, group, strict=True)]
        )
        for i in range(2)
    ]
    product = cross_products(maker, flat[0], flat[1], bits)
    pieces = torch.split(product, [math.prod(entries_shape(request)) for request in group])
    return [
        (a, b, _summed(request, piece)) for (a, b), piece, request in zip(factors, pieces, group, strict=True)
    ]


def count_products(costs: Costs, group: Sequence[Request], bits: int) -> None:
    """Charges what `make_products` sends."""
    count_cross_products(costs, sum(math.prod(entries_shape(request)) for request in group), bits)


def entries_shape(request: Request) -> Shape:
    """Of the products of two entries each: [..., m, k, n] for matrices."""
    if request.kind is Kind.PRODUCT:
        return request.result_shape
    *batch, rows, columns = request.result_shape
    return (*batch, rows, request.shapes[0][-1], columns)


def _entries(request: Request, factor: torch.Tensor, place: int) -> torch.Tensor:
    """The factor of each product of two entries."""
    if request.kind is Kind.MATMUL:
        factor = factor.unsqueeze(-3 if place else -1)
    return factor.expand(entries_shape(request))


def _summed(request: Request, products: torch.Tensor) -> torch.Tensor:
    shaped = products.reshape(entries_shape(request))
    return shaped.sum(-2) if request.kind is Kind.MATMUL else shaped
