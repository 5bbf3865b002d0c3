"""Weights of the server's, and products with what one party has of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch

from parties.randomness import Randomness
from protocols.fss.preprocessing.correlations import Shape
from protocols.fss.preprocessing.parts import parts
from protocols.kernels.ring_products import ring_matmul, ring_matmul_transposed
from protocols.meta_tensors import no_data
from protocols.tensors import drawn

_DRAWN_ELEMENTS = 1 << 19
"""Elements of a mask that are in memory at once: four megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class PublicCopy:
    """A weight in the clear, for the client to have: its entries modulo 2^ring_bits."""

    value: torch.Tensor
    ring_bits: int


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A weight of the server, [in, out], or a vector: then a diagonal.

    Attributes:
        name: its mask's name.
        frac_bits: of its entries.
        ring_bits: it is masked once, in this ring; layers may use it in narrower ones.
        value: the weight at the server and in the clear; the weight minus its mask at the client; no data
            elsewhere.
        bias: at the server and in the clear, in float; None where there is none or somebody else runs.
        masked: it is brought in masked, for layers to multiply with.
        encrypted: layers multiply with it under encryption, and nothing of it is brought in.
        public: the whole weight, where the plan gives it away to the client; no data elsewhere.
    """

    name: str
    shape: Shape
    frac_bits: int
    ring_bits: int
    value: torch.Tensor
    bias: torch.Tensor | None = None
    masked: bool = True
    encrypted: bool = False
    public: PublicCopy | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Uniform 64-bit words that a stream draws whenever they are needed, some rows at a time.

    Memory for a model's masks takes longer to come by than the masks take to draw.

    Attributes:
        stream: afresh at every call, from the start.
    """

    shape: Shape
    stream: Callable[[], Randomness]

    def whole(self) -> torch.Tensor:
        """All of them."""
        return drawn(self.stream(), self.shape, 64)

    def rows(self) -> Generator[tuple[slice, torch.Tensor]]:
        """Neighbouring rows of a matrix after others."""
        stream, width = self.stream(), self.shape[1]
        for part in parts(self.shape[0], max(1, _DRAWN_ELEMENTS // max(1, width))):
            yield part, drawn(stream, (part.stop - part.start, width), 64)


def times(
    x: torch.Tensor, matrix: torch.Tensor | Drawn, *, transposed: bool, ring_bits: int = 64
) -> torch.Tensor:
    """x W modulo 2^ring_bits at least, x W^T with `transposed`, or x times a diagonal."""
    if isinstance(matrix, Drawn):
        return _times_drawn(x, matrix, transposed=transposed, ring_bits=ring_bits)
    if matrix.dim() == 1:
        return x * matrix
    if x.device.type == "meta" or matrix.device.type == "meta":
        return no_data((*x.shape[:-1], matrix.shape[0 if transposed else 1]))
    return (ring_matmul_transposed if transposed else ring_matmul)(x, matrix, ring_bits)


def _times_drawn(x: torch.Tensor, matrix: Drawn, *, transposed: bool, ring_bits: int) -> torch.Tensor:
    """As `times`: rows of W as they come."""
    if len(matrix.shape) == 1 or x.device.type == "meta":
        return times(x, matrix.whole(), transposed=transposed, ring_bits=ring_bits)
    columns = matrix.shape[0 if transposed else 1]
    result = torch.zeros((*x.shape[:-1], columns), dtype=torch.int64)
    for part, rows in matrix.rows():
        if transposed:
            result[..., part] = ring_matmul_transposed(x, rows, ring_bits)
        else:
            result += ring_matmul(x[..., part], rows, ring_bits)
    return result


Factor = Callable[[Matrix], torch.Tensor | Drawn]
"""What whoever computes multiplies in place of a weight: D = W - B at the client, B at the dealer."""


@dataclass(slots=True, eq=False)
class Products:
    """A pass's products with weights, in the order of its layers.

    Attributes:
        factor: what stands for a weight.
        ready: factor and product of the layers to come, where they were computed ahead.
    """

    factor: Factor
    ready: deque[tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=deque[tuple[torch.Tensor, torch.Tensor]]
    )

    def whole(self, weight: Matrix) -> torch.Tensor:
        """What stands for a weight, as a tensor."""
        factor = self.factor(weight)
        return factor.whole() if isinstance(factor, Drawn) else factor

    def of(self, x: torch.Tensor, weight: Matrix, *, transposed: bool, ring_bits: int) -> torch.Tensor:
        """x times a weight, as `times`: taken if it is ready and of the same x, or else computed."""
        if self.ready:
            known, product = self.ready.popleft()
            if known.shape == x.shape and torch.equal(known, x):
                return product
            self.ready.clear()
        return times(x, self.factor(weight), transposed=transposed, ring_bits=ring_bits)


@dataclass(slots=True, eq=False)
class Noted(Products):
    """Products that are remembered.

    Attributes:
        made: factor and product, in the order in which they were computed.
    """

    made: list[tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=list[tuple[torch.Tensor, torch.Tensor]]
    )

    def of(self, x: torch.Tensor, weight: Matrix, *, transposed: bool, ring_bits: int) -> torch.Tensor:
        product = times(x, self.factor(weight), transposed=transposed, ring_bits=ring_bits)
        self.made.append((x, product))
        return product
