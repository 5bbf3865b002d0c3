"""Levels and operations of a homomorphic evaluation: the same protocols on tensors of levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, final

import torch

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER, Meter
from protocols.arithmetic.arithmetic import Arithmetic, Public
from protocols.arithmetic.shapes import broadcast_shape, matmul_shape
from protocols.arithmetic.weight import Weight
from protocols.share import Share

PLAIN = -1
"""The level of what the server knows: its weights."""
SLOTS = 1 << 15
"""Numbers a ciphertext: N / 2 for the ring of dimension 2^16, which CKKS takes for deep programs."""


@dataclass(slots=True)
class Operations:
    """On ciphertexts, under one label."""

    products: int = 0
    plain_products: int = 0
    rotations: int = 0


@final
class DepthArithmetic(Arithmetic):
    """Holds, in place of every number, how many levels were spent on it; computes nothing else.

    The client's input is encrypted, the server's weights are plaintexts. A product of two ciphertexts takes a
    level. A product by a plaintext takes `plain_level`: 1 where the scheme rescales, 0 to count products of
    ciphertexts alone. Sums, integers and powers of two are free, and so are truncations: they move the scale.

    Operations are of packed ciphertexts of `slots` numbers:

        elementwise, n numbers     ceil(n / slots) products
        sum of rows of L           ceil(log2 L) rotations a ciphertext
        linear, T rows, in x out   diagonals: with i, o the widths as powers of two, d = min(i, o) and
                                   g = ceil(T d / slots) groups of rows: g i o / d products by plaintexts;
                                   with b = 2^ceil(log2(d) / 2) baby steps
                                   g (i / d) ((b - 1) + (o / d) (d / b - 1)) rotations
        matmul, B of m x k x n     with d = max(m, k, n) as a power of two and g = ceil(B d^2 / slots):
                                   g d products, 4 g d by plaintexts, g (3 d + 5 sqrt(d)) rotations; a level
                                   and two of plaintexts

    Not counted: changes of layout between these, keys, bootstrapping.

    Source: diagonals: Halevi and Shoup, Algorithms in HElib (CRYPTO 2014), with baby and giant steps as in
        Faster Homomorphic Linear Transformations in HElib (CRYPTO 2018); matrix products: Jiang, Kim, Lauter
        and Song, Secure Outsourced Matrix Computation (CCS 2018). The constants of the latter are a
        reconstruction.

    Attributes:
        operations: by label.
        deepest: by label, the highest level of a result.
    """

    def __init__(self, meter: Meter, *, plain_level: int, slots: int = SLOTS) -> None:
        super().__init__(SERVER, meter, 16)
        self._plain_level, self._slots = plain_level, slots
        self.operations: dict[str, Operations] = {}
        self.deepest: dict[str, int] = {}

    # -- free ---------------------------------------------------------------------------------------------

    def add(self, a: Share, b: Share) -> Share:
        return Share(torch.maximum(a.value, b.value), a.frac_bits)

    def sub(self, a: Share, b: Share) -> Share:
        return self.add(a, b)

    def neg(self, a: Share) -> Share:
        return a

    def add_public(self, a: Share, value: Public) -> Share:
        if not isinstance(value, torch.Tensor):
            return a
        return Share(a.value.expand(broadcast_shape(a.shape, tuple(value.shape))), a.frac_bits)

    def truncate(self, a: Share, frac_bits: int) -> Share:
        return Share(a.value, frac_bits)

    def sum(self, a: Share, axis: int) -> Share:
        turns = math.ceil(math.log2(max(a.shape[axis], 1)))
        self._charge(rotations=turns * self._ciphertexts(a.value.numel()))
        return Share(a.value.amax(axis, keepdim=True), a.frac_bits)

    # -- by plaintexts ------------------------------------------------------------------------------------

    def mul_public(self, a: Share, value: Public) -> Share:
        return self._by_plain(a, value, a.frac_bits)

    def mul_integer(self, a: Share, value: int | torch.Tensor) -> Share:
        return self._by_plain(a, value, a.frac_bits) if isinstance(value, torch.Tensor) else a

    def scaled(self, a: Share, value: float, frac_bits: int) -> Share:
        return self._by_plain(a, value, frac_bits)

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        matrix = weight.shape[::-1] if transposed else weight.shape
        rows, (i, o) = math.prod(x.shape[:-1]), (_power_of_two(length) for length in matrix)
        d = min(i, o)
        groups, steps = math.ceil(rows * d / self._slots), 1 << math.ceil(math.log2(d) / 2)
        turns = groups * (i // d) * (steps - 1 + (o // d) * (d // steps - 1))
        self._charge(plain_products=groups * i * o // d, rotations=turns)
        level = int(x.value.max()) + self._plain_level
        return self._flat(matmul_shape(x.shape, matrix), level)

    # -- of ciphertexts -----------------------------------------------------------------------------------

    def mul(self, a: Share, b: Share) -> Share:
        shape = broadcast_shape(a.shape, b.shape)
        together = torch.maximum(a.value, b.value).expand(shape)
        if bool((a.value == PLAIN).all()) or bool((b.value == PLAIN).all()):
            self._charge(plain_products=self._ciphertexts(math.prod(shape)))
            result = together + self._plain_level * (together != PLAIN)
        else:
            self._charge(products=self._ciphertexts(math.prod(shape)))
            result = together + 1
        return self.rescaled(self._noted(result), a, b)

    def square(self, a: Share) -> Share:
        return self.mul(a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        shape = matmul_shape(a.shape, b.shape)
        d = _power_of_two(max(*a.shape[-2:], b.shape[-1]))
        groups = math.ceil(math.prod(shape[:-2]) * d * d / self._slots)
        self._charge(
            products=groups * d,
            plain_products=4 * groups * d,
            rotations=groups * (3 * d + 5 * math.ceil(math.sqrt(d))),
        )
        level = max(int(a.value.max()), int(b.value.max())) + 1 + 2 * self._plain_level
        return self._flat(shape, level)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> NoReturn:
        raise ConfigError(f"{self.meter.label}: a comparison is no polynomial and has no depth")

    # -- in and out ---------------------------------------------------------------------------------------

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        level = torch.tensor(0 if owner == CLIENT else PLAIN).expand(tuple(shape))
        return Share(level, self.frac_bits if frac_bits is None else frac_bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        return Weight(name, self.share_from(SERVER, value, shape))

    def open_to(self, receiver: int, a: Share) -> None:
        return None

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        return value

    # -- the ledger ---------------------------------------------------------------------------------------

    def _by_plain(self, a: Share, value: Public | int, frac_bits: int) -> Share:
        if isinstance(value, torch.Tensor):
            shape = broadcast_shape(a.shape, tuple(value.shape))
        elif math.frexp(abs(value))[0] in (0.0, 0.5):
            return Share(a.value, frac_bits)
        else:
            shape = a.shape
        self._charge(plain_products=self._ciphertexts(math.prod(shape)))
        return Share(self._noted((a.value + self._plain_level).expand(shape)), frac_bits)

    def _flat(self, shape: Sequence[int], level: int) -> Share:
        return Share(self._noted(torch.tensor(level).expand(tuple(shape))), self.frac_bits)

    def _noted(self, levels: torch.Tensor) -> torch.Tensor:
        label = self.meter.label
        self.deepest[label] = max(self.deepest.get(label, 0), int(levels.max()))
        return levels

    def _ciphertexts(self, numbers: int) -> int:
        return math.ceil(numbers / self._slots)

    def _charge(self, products: int = 0, plain_products: int = 0, rotations: int = 0) -> None:
        self.meter.charge_frame(SERVER, payload_bytes=0, wire_bytes=0, depth=0)  # a row, which knows its kind
        row = self.operations.setdefault(self.meter.label, Operations())
        row.products += products
        row.plain_products += plain_products
        row.rotations += rotations


def _power_of_two(length: int) -> int:
    return 1 << max(0, math.ceil(math.log2(length)))
