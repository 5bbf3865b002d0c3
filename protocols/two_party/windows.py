"""Which correlations are made together: neighbours, as many as memory is to hold at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocols.two_party.correlations import MATRICES, Kind, Request

WINDOW_BYTES = 1 << 28
"""What the parts of a window's correlations take at one party, about; one request may be larger."""
_BYTES = {
    Kind.PRODUCT: 24,
    Kind.SQUARE: 16,
    Kind.MATMUL: 24,
    Kind.LINEAR: 16,
    Kind.LINEAR_TRANSPOSED: 16,
    Kind.SCORES: 24,
    Kind.MIX: 24,
    Kind.WRAP: 9,
    Kind.SELECT: 25,
    Kind.BIT: 9,
    Kind.AND: 3,
    Kind.DIGIT: 4,
    Kind.PLACE_128: 32,
    Kind.PLACE_256: 48,
    Kind.TRANSFER: 25,
}
"""An element's."""


def window(requests: Sequence[Request]) -> int:
    """How many of these, which come next, are made together; at least one."""
    total = 0
    for count, request in enumerate(requests):
        total += request.elements * _BYTES[request.kind]
        if total > WINDOW_BYTES and count:
            return count
    return len(requests)


def by_kind(
    requests: Sequence[Request], by_transfer: Callable[[Request], bool]
) -> dict[tuple[Kind, int, bool], list[int]]:
    """Places of requests of one kind, ring and way to make them, in the order in which both parties do.

    Matrices that are encrypted each have a ring of their own, and are together whatever it is: 0 bits.
    """
    groups: dict[tuple[Kind, int, bool], list[int]] = {}
    for place, request in enumerate(requests):
        transfer = by_transfer(request)
        bits = 0 if request.kind in MATRICES and not transfer else request.bits
        groups.setdefault((request.kind, bits, transfer), []).append(place)
    return groups
