"""Polynomials over GF(2) of bits that are opened under random masks, whatever their degree, in one round.

With every input v opened as e = v ^ r,

    f(v) = f(e ^ r) = XOR over sets S of  r_S * (XOR over f's monomials T that contain S of  e_(T - S)),

where r_S is the product of the masks in S, and e_(T - S) a product of opened bits. The factors of r_S are
public; the parties hold XOR shares of r_S. Inputs are opened once, whatever they are used for.

Source: multi-input AND gates of Ohata and Nuida (FC 2020) and of ABY2.0 (USENIX Security 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from protocols.arithmetic.bits import Slices

Polynomial = frozenset[int]
"""XOR of monomials; a monomial is a set of inputs, as the bits of an integer. 0 is the constant 1."""


def variable(index: int) -> Polynomial:
    """The polynomial that is one input."""
    return frozenset({1 << index})


def xor(a: Polynomial, b: Polynomial) -> Polynomial:
    """a ^ b."""
    return a ^ b


def both(a: Polynomial, b: Polynomial) -> Polynomial:
    """a & b."""
    product: set[int] = set()
    for left in a:
        for right in b:
            product ^= {left | right}
    return frozenset(product)


def _subsets(monomial: int) -> Iterable[int]:
    """Every set of a monomial's inputs, the empty one last."""
    subset = monomial
    while subset:
        yield subset
        subset = (subset - 1) & monomial
    yield 0


class Products:
    """Products of bits by the set of their indices, each computed once.

    Args:
        factors: arrays of one shape by 1 << index.
    """

    def __init__(self, factors: Mapping[int, Slices]) -> None:
        self._known = dict(factors)

    def __getitem__(self, subset: int) -> Slices:
        value = self._known.get(subset)
        if value is None:
            lowest = subset & -subset
            value = self._known[lowest] & self[subset ^ lowest]
            self._known[subset] = value
        return value


def numbered(rows: Iterable[Slices], first: int = 0) -> dict[int, Slices]:
    """Arrays by 1 << index, from a first index on."""
    return {1 << index: row for index, row in enumerate(rows, first)}


@dataclass(frozen=True)
class Gate:
    """Polynomials of the same inputs.

    Attributes:
        inputs: how many.
        outputs: the polynomials.
        server_inputs: where not zero, the server alone holds the first so many inputs, and the masks of them,
            and the client the others; otherwise inputs and masks are XOR-shared.
    """

    inputs: int
    outputs: tuple[Polynomial, ...]
    server_inputs: int = 0

    @property
    def opened(self) -> int:
        """Bits that one party sends."""
        return self.server_inputs or self.inputs

    @cached_property
    def terms(self) -> tuple[dict[int, tuple[int, ...]], ...]:
        """For every output: each set S, with the sets T - S."""
        result: list[dict[int, tuple[int, ...]]] = []
        for polynomial in self.outputs:
            terms: dict[int, tuple[int, ...]] = {}
            for monomial in sorted(polynomial):
                for subset in _subsets(monomial):
                    terms[subset] = (*terms.get(subset, ()), monomial ^ subset)
            result.append(terms)
        return tuple(result)

    @cached_property
    def products(self) -> tuple[int, ...]:
        """Sets of two masks or more whose product the dealer shares, because no party knows it alone."""
        own = {*self.known(server=True), *self.known(server=False)}
        return tuple(subset for subset in self._products if subset not in own)

    def known(self, *, server: bool) -> tuple[int, ...]:
        """Sets of two masks or more whose product one party computes alone."""
        if not self.server_inputs:
            return ()
        low = (1 << self.server_inputs) - 1
        others = ~low if server else low
        return tuple(subset for subset in self._products if not subset & others)

    @cached_property
    def _products(self) -> tuple[int, ...]:
        return tuple(sorted({s for terms in self.terms for s in terms if s.bit_count() > 1}))

    def evaluate(
        self, opened: Products, masks: Mapping[int, Slices], out: Sequence[Slices], *, public: bool
    ) -> None:
        """This party's XOR shares of the outputs.

        Args:
            opened: e_T.
            masks: this party's shares of r_S; a missing one is zero.
            out: an array an output; what is in there is XORed with the result.
            public: whether this party adds the terms without a mask: just one of the two does.
        """
        for terms, result in zip(self.terms, out, strict=True):
            for subset, rests in terms.items():
                if subset in masks:
                    np.bitwise_xor(result, _times(masks[subset], rests, opened), out=result)
            for rest in terms[0] if public else ():
                np.bitwise_xor(result, opened[rest], out=result)


def _times(mask: Slices, rests: Sequence[int], opened: Products) -> Slices:
    """mask & (XOR of opened products); the empty product is 1."""
    parts = [opened[rest] for rest in rests if rest]
    if not parts:
        return mask
    factor = parts[0] & mask if len(parts) == 1 else parts[0] ^ parts[1]
    for part in parts[2:]:
        factor ^= part
    if len(parts) > 1:
        factor &= mask
    if 0 in rests:
        factor ^= mask
    return factor
