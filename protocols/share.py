"""A secret, as one party holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """This party's additive share of a tensor over Z_2^64.

    The secret is the sum of both parties' `value` modulo 2^64, read as a signed integer and divided by
    2^frac_bits. A share on torch's `meta` device has a shape and no data: that is how bills are counted.

    Attributes:
        value: int64 tensor of the secret's shape.
        frac_bits: position of the binary point; 0 for integers such as comparison bits.
    """

    value: torch.Tensor
    frac_bits: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    def __bool__(self) -> NoReturn:
        raise TypeError("a share has no truth value: the secret is not known to this party")

    def __float__(self) -> NoReturn:
        raise TypeError("a share is not a number: the secret is not known to this party")

    def __repr__(self) -> str:
        return f"Share(shape={list(self.shape)}, frac_bits={self.frac_bits}, value hidden)"
