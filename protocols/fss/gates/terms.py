"""What a party or the dealer knows of a linear form: coefficients or secrets, some elements at a time."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.gates.forms import Form
from protocols.fss.ring import shift_right, top_bit
from protocols.kernels.form_products import BIT, LISTED, VALUE, VIEW
from protocols.share import Share
from protocols.tensors import to_words

Coefficient = torch.Tensor | int


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """What the loops in `protocols.kernels.form_products` take of a factor: flat values, and numbers."""

    values: NDArray[np.uint64]
    numbers: tuple[int, ...]


class Terms(ABC):
    """Coefficients of a form, the constant first, or its secrets."""

    @abstractmethod
    def factors(self, form: Form, parts: Sequence[slice]) -> Iterator[Factor]:
        """Those of some elements after others, of all in the order in which they lie."""


@dataclass(frozen=True, slots=True, eq=False)
class _Masked(Terms):
    """Of a masked value: the loops compute them, others may ask for them."""

    x: Share

    def factors(self, form: Form, parts: Sequence[slice]) -> Iterator[Factor]:
        x = self.x
        kind = BIT if x.ring_bits == 1 else VALUE if x.drop is None else VIEW
        flat = to_words(x.value).reshape(-1)
        for part in parts:
            yield _factor(form, flat[part], (kind, x.ring_bits, x.drop or 0), part)


@final
class Coefficients(_Masked):
    """A party's public coefficients of `form_of(x)`, the constant first."""

    def __iter__(self) -> Iterator[Coefficient]:
        x = self.x
        if x.ring_bits == 1:
            bit = x.value & 1
            return iter((bit, 1 - 2 * bit))
        if x.drop is None:
            return iter((x.value, -1))
        shifted = x.value + (1 << (x.ring_bits - 2))
        wraps = top_bit(shifted, x.ring_bits).bitwise_xor_(1)
        public = shift_right(shifted, x.drop, x.ring_bits).sub_(1 << (x.ring_bits - 2 - x.drop))
        return iter((public, -1, wraps))


@final
class Secrets(_Masked):
    """The dealer's secrets of `form_of(x)`; `x.value` is the mask."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        x = self.x
        if x.ring_bits == 1:
            return iter((x.value & 1,))
        if x.drop is None:
            return iter((x.value,))
        wrap = top_bit(x.value, x.ring_bits) << (x.ring_bits - x.drop)
        return iter((shift_right(x.value, x.drop, x.ring_bits), wrap))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Computed(Terms):
    """Terms that are given, or computed as they are asked for.

    Attributes:
        compute: the terms of some elements: a tensor of these, flat, or one number for all.
    """

    compute: Callable[[slice], Sequence[Coefficient]]

    def factors(self, form: Form, parts: Sequence[slice]) -> Iterator[Factor]:
        for part in parts:
            terms = self.compute(part)
            rows = np.empty((len(terms), part.stop - part.start), np.uint64)
            for row, term in zip(rows, terms, strict=True):
                row[:] = np.uint64(term % 2**64) if isinstance(term, int) else to_words(term)
            yield _factor(form, rows.reshape(-1), (LISTED, 0, 0), part)


def coefficients(x: Share) -> Coefficients:
    """A party's public coefficients of `form_of(x)`, the constant first."""
    return Coefficients(x)


def secrets(x: Share) -> Secrets:
    """The dealer's secrets of `form_of(x)`; `x.value` is the mask."""
    return Secrets(x)


def listed(terms: Sequence[Coefficient]) -> Computed:
    """Terms as they are, of any shape, or one number for all elements."""
    flat = [term if isinstance(term, int) else term.reshape(-1) for term in terms]
    return Computed(lambda part: [term if isinstance(term, int) else term[part] for term in flat])


def some_of(x: Share, part: slice) -> Share:
    """Some elements of a share, flat."""
    return Share(x.value.reshape(-1)[part], x.frac_bits, x.ring_bits, x.held, x.drop)


def _factor(form: Form, values: NDArray[np.uint64], kind: tuple[int, int, int], part: slice) -> Factor:
    terms = len(form.zeros) + form.constant
    return Factor(values, (*kind, terms, int(form.constant), part.stop - part.start))
