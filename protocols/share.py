"""A secret, as one party holds it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

import torch


class Held(Enum):
    """Who knows what of a secret x of Z_2^n; r and a are uniform on the same ring."""

    ADDITIVE = "additive"
    """Each party has a summand; the secret is their sum."""
    MASKED = "masked"
    """Both parties know x + r, the dealer knows r."""
    SERVER_MASKED = "masked, at the server"
    """The server knows x + r, the dealer knows r, the client nothing yet."""
    SERVER_HELD = "held by the server"
    """The server knows x - a; the client and the dealer know a."""


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What this party has of a tensor over Z_2^ring_bits.

    The secret is read as a signed integer and divided by 2^frac_bits. `value` is modulo 2^64 and stands for
    its residue modulo 2^ring_bits: bits above the ring mean nothing. A share on torch's `meta` device has a
    shape and no data: that is how bills are counted, and what a party has of a value it knows nothing of.

    Attributes:
        value: int64 tensor of the secret's shape.
        frac_bits: position of the binary point; 0 for integers such as comparison bits.
        ring_bits: width of the ring, 1 to 64.
        held: who knows what.
        drop: for a masked value, how many low bits its readers are to ignore: they read floor(x / 2^drop),
            which has `frac_bits` fraction bits, and may read it into a wider ring (`Executor.view`). None for
            a value that is read as it is.
    """

    value: torch.Tensor
    frac_bits: int
    ring_bits: int = 64
    held: Held = Held.ADDITIVE
    drop: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    def first_rows(self, count: int) -> Share:
        """The first so many along the axis before the last."""
        return dataclasses.replace(self, value=self.value[..., :count, :])

    def __bool__(self) -> NoReturn:
        raise TypeError("a share has no truth value: the secret is not known to this party")

    def __float__(self) -> NoReturn:
        raise TypeError("a share is not a number: the secret is not known to this party")

    def __repr__(self) -> str:
        ring = f", ring_bits={self.ring_bits}, {self.held.value}" if self.held is not Held.ADDITIVE else ""
        return f"Share(shape={list(self.shape)}, frac_bits={self.frac_bits}{ring}, value hidden)"
