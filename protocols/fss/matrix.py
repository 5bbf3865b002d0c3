"""Weights of the server's, and products with what one party has of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from protocols.fss.material import Shape
from protocols.fss.shapes import no_data
from protocols.kernels.ring import ring_matmul, ring_matmul_transposed


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
        public: the whole weight, where the plan gives it away to the client; no data elsewhere.
    """

    name: str
    shape: Shape
    frac_bits: int
    ring_bits: int
    value: torch.Tensor
    bias: torch.Tensor | None = None
    masked: bool = True
    public: PublicCopy | None = None


def times(x: torch.Tensor, matrix: torch.Tensor, *, transposed: bool, ring_bits: int = 64) -> torch.Tensor:
    """x W modulo 2^ring_bits at least, x W^T with `transposed`, or x times a diagonal."""
    if matrix.dim() == 1:
        return x * matrix
    if x.device.type == "meta" or matrix.device.type == "meta":
        return no_data((*x.shape[:-1], matrix.shape[0 if transposed else 1]))
    return (ring_matmul_transposed if transposed else ring_matmul)(x, matrix, ring_bits)


Factor = Callable[[Matrix], torch.Tensor]
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

    def of(self, x: torch.Tensor, weight: Matrix, *, transposed: bool, ring_bits: int) -> torch.Tensor:
        """x times a weight, as `times`: taken if it is ready and of the same x, or else computed."""
        if self.ready:
            known, product = self.ready.popleft()
            if known.shape == x.shape and torch.equal(known, x):
                return product
            self.ready.clear()
        return times(x, self.factor(weight), transposed=transposed, ring_bits=ring_bits)


def with_masks(mask: Callable[[str, Shape], torch.Tensor]) -> Products:
    """The dealer's products: weights' masks by name and shape stand for the weights."""
    return Products(lambda weight: mask(weight.name, weight.shape))


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
