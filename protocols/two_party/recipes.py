"""Recipes by kind, and how many correlated transfers requests will take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocols.two_party.correlations import PLACE_BITS, Kind, Request
from protocols.two_party.digits import Digit
from protocols.two_party.matrices import matmul_bytes
from protocols.two_party.places import Place, Transfer, place_cots
from protocols.two_party.products import entries_shape
from protocols.two_party.recipe import And, Bit, Recipe, Select, Square, Wrap
from protocols.two_party.vectors import encrypted
from protocols.two_party.windows import by_kind

INDEX_BITS = 4
"""Of a table of 16 entries."""
RECIPES: dict[Kind, Recipe] = {
    Kind.WRAP: Wrap(),
    Kind.BIT: Bit(),
    Kind.SELECT: Select(),
    Kind.AND: And(),
    Kind.DIGIT: Digit(),
    Kind.SQUARE: Square(),
    Kind.PLACE_128: Place(PLACE_BITS[Kind.PLACE_128]),
    Kind.PLACE_256: Place(PLACE_BITS[Kind.PLACE_256]),
    Kind.TRANSFER: Transfer(),
}


def by_transfer(request: Request) -> bool:
    """Whether products are made by oblivious transfer: of matrices, where encryption would send more."""
    if request.kind is Kind.MATMUL:
        bits = request.bits * (request.bits + 3) * math.prod(entries_shape(request))
        return bits <= 8 * matmul_bytes(request)
    return request.kind is Kind.PRODUCT


def cot_counts(requests: Sequence[Request]) -> tuple[int, int]:
    """COTs that making these takes, by the rank of their sender."""
    server = client = 0
    for (kind, bits, transfer), places in by_kind(requests, by_transfer).items():
        group = [requests[place] for place in places]
        count = sum(request.elements for request in group)
        match kind:
            case Kind.WRAP | Kind.BIT:
                server += count
            case Kind.SELECT:
                server, client = server + 2 * count, client + count
            case Kind.AND | Kind.TRANSFER:
                server, client = server + count, client + count
            case Kind.PLACE_128 | Kind.PLACE_256:
                by_server, by_client = place_cots(PLACE_BITS[kind], bits)
                server, client = server + by_server * count, client + by_client * count
            case Kind.DIGIT:
                server += INDEX_BITS * count
            case Kind.SQUARE:
                server += 0 if encrypted(count, bits - 1) else (bits - 1) * count
            case _ if transfer:
                products = sum(math.prod(entries_shape(request)) for request in group)
                both = 0 if encrypted(products, bits) else bits * products
                server, client = server + both, client + both
            case _:
                pass
    return server, client
