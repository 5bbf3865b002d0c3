"""Products of random numbers of any two shapes that broadcast."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from protocols.tensors import to_tensor
from protocols.two_party.correlations import Parts, Request
from protocols.two_party.ot.costs import OtCosts
from protocols.two_party.recipe import Maker, count_cross_products, cross_products


def make_products(maker: Maker, group: Sequence[Request], bits: int) -> list[Parts]:
    """This party's shares of a, b and a * b for each request: two products of private numbers an element."""
    factors = [
        [to_tensor(maker.words(math.prod(shape), bits)).reshape(shape) for shape in request.shapes]
        for request in group
    ]
    flat = [
        torch.cat(
            [
                pair[i].expand(request.result_shape).reshape(-1)
                for pair, request in zip(factors, group, strict=True)
            ]
        )
        for i in range(2)
    ]
    product = cross_products(maker, flat[0], flat[1], bits)
    sizes = [math.prod(request.result_shape) for request in group]
    return [
        (a, b, piece.reshape(request.result_shape))
        for (a, b), piece, request in zip(factors, torch.split(product, sizes), group, strict=True)
    ]


def count_products(costs: OtCosts, group: Sequence[Request], bits: int) -> None:
    """Charges what `make_products` sends."""
    count_cross_products(costs, sum(math.prod(request.result_shape) for request in group), bits)
