"""Broken comparisons on packed bits: each has a fault that tests/protocols/additive/crypten must find."""

from __future__ import annotations

from collections.abc import Callable

import torch

from protocols.additive.correlations import Kind, Request
from protocols.additive.crypten.packed_comparison import less_than_zero
from protocols.additive.crypten.session import CrypTenSession
from protocols.additive.source import Correlation
from protocols.arithmetic.carry import Level

Comparison = Callable[[CrypTenSession, torch.Tensor, int], torch.Tensor]


def one_bit_less(session: CrypTenSession, x: torch.Tensor, bits: int) -> torch.Tensor:
    """Reduces to one bit less than the range needs."""
    return less_than_zero(session, x, bits - 1)


def of_the_shares(session: CrypTenSession, x: torch.Tensor, bits: int) -> torch.Tensor:
    """Forgets the carry: the XOR of both shares' top bits."""
    return less_than_zero(session, x & (1 << (bits - 1)), bits)


class _Weakened:
    """A provider whose correlations are changed on the way, in the same way at both parties."""

    def __init__(
        self, session: CrypTenSession, change: Callable[[Request, Correlation], Correlation]
    ) -> None:
        self._provider, self._change = session.provider, change

    def take(self, kind: Kind, *shapes: torch.Size, weight: str = "", bits: int = 0) -> Correlation:
        correlation = self._provider.take(kind, *shapes, weight=weight, bits=bits)
        return self._change(Request(kind, tuple(tuple(shape) for shape in shapes), weight, bits), correlation)


def _with(change: Callable[[Request, Correlation], Correlation]) -> Comparison:
    def weakened(session: CrypTenSession, x: torch.Tensor, bits: int) -> torch.Tensor:
        strong = session.provider
        session.provider = _Weakened(session, change)
        try:
            return less_than_zero(session, x, bits)
        finally:
            session.provider = strong

    return weakened


def _rows(level: Level, masked: int, *, products: bool) -> list[int]:
    """Numbers of the slices, opened or dealt, that depend on input `masked` of either party at a gate."""
    rows: list[int] = []
    start = 0
    for gate, made in level.groups:
        sets = gate.products if products else tuple(1 << i for i in range(gate.opened))
        inputs = 1 << masked | (1 << (masked + gate.server_inputs) if products else 0)
        for subset in sets:
            end = start + made.stop - made.start
            rows += range(start, end) if subset & inputs else ()
            start = end
    return rows


def _unmasked(kind: Kind, masked: int = 0) -> Comparison:
    """One input of every gate of a kind is opened as it is; of a sign, all of it. Results stay right.

    A mask that is zero has products that are zero. Takes a number of elements that is divisible by 8.
    """

    def change(request: Request, correlation: Correlation) -> Correlation:
        if request.kind is not kind:
            return correlation
        [masks], [results] = correlation.masks, correlation.results
        if kind is Kind.PACKED_BIT:
            return Correlation([masks * 0], [results * 0])
        masks[_rows(request.level, masked, products=False)] = 0
        results.reshape(request.level.products, -1)[_rows(request.level, masked, products=True)] = 0
        return correlation

    return _with(change)


WRONG: dict[str, Comparison] = {"one bit less": one_bit_less, "of the shares": of_the_shares}
"""Results are wrong for some numbers of the promised size."""

LEAKY: dict[str, Comparison] = {
    "leaf without a mask": _unmasked(Kind.CARRY_LEAF),
    "p without a mask": _unmasked(Kind.CARRY_NODE),
    "sign without a mask": _unmasked(Kind.PACKED_BIT),
}
"""Results are right, and what is opened depends on the secret."""
