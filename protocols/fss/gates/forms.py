"""Linear forms in secrets of the dealer's, and how the secrets of a product of them lie, end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product

import numpy as np
from numpy.typing import NDArray

from protocols.fss.preprocessing.correlations import Shape
from protocols.meta_tensors import broadcast

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Form:
    """A linear form: a shape, a constant term or none, and some secrets.

    Attributes:
        zeros: of each secret, how many low bits are zero whatever it is.
    """

    shape: Shape
    constant: bool
    zeros: tuple[int, ...]


def monomials(forms: Sequence[Form]) -> list[tuple[int, ...]]:
    """Which term of each form a product takes, 0 being the constant; the all-constant product is left out."""
    choices = [range(0 if form.constant else 1, len(form.zeros) + 1) for form in forms]
    return [choice for choice in product(*choices) if any(choice)]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the loops over a product need to know; see `protocols.kernels.form_products`.

    Attributes:
        shape: of the result.
        rows, width: its elements, as rows; one row where every form has a number for every element.
        of_products: columns and rows of factors; columns, zeros and rows of monomials.
        of_shares: columns and rows of factors; choices, columns, zeros and rows of monomials, and which are
            fresh.
    """

    shape: Shape
    rows: int
    width: int
    of_products: tuple[Numbers, Numbers, Numbers, Numbers, Numbers]
    of_shares: tuple[Numbers, Numbers, Numbers, Numbers, Numbers, Numbers, NDArray[np.bool_]]


@lru_cache(maxsize=1 << 12)
def layout_of(forms: tuple[Form, ...]) -> Layout:
    """The layout of a product of forms, which broadcast."""
    shape, choices = broadcast(*(form.shape for form in forms)), monomials(forms)
    shapes, zeros = list[Shape](), list[int]()
    for choice in choices:
        chosen = [(form, term) for form, term in zip(forms, choice, strict=True) if term]
        shapes.append(broadcast(*(form.shape for form, _ in chosen)))
        zeros.append(sum(form.zeros[term - 1] for form, term in chosen))
    plain = all(form.shape == shape for form in forms)
    starts = accumulate((math.prod(each) for each in shapes), initial=0)
    rows = [start + _rows(each, shape, plain) for start, each in zip(starts, shapes, strict=False)]
    factor_columns = np.array([_by_column(form.shape, shape, plain) for form in forms], np.int64)
    factor_rows = np.array([_rows(form.shape, shape, plain) for form in forms], np.int64)
    columns = np.array([_by_column(each, shape, plain) for each in shapes], np.int64)
    low, item_rows = np.array(zeros, np.int64), np.array(rows, np.int64)
    fresh = np.array([_first_of_each(each) for each in rows], np.bool_)
    return Layout(
        shape,
        1 if plain else math.prod(shape[:-1]),
        math.prod(shape) if plain else shape[-1],
        (factor_columns, factor_rows, columns, low, item_rows),
        (factor_columns, factor_rows, np.array(choices, np.int64), columns, low, item_rows, fresh),
    )


def _by_column(shape: Shape, result: Shape, plain: bool) -> bool:
    """Whether a tensor that broadcasts to the result has a number for every column."""
    return plain or (shape[-1:] == result[-1:] and result[-1] > 1)


def _rows(shape: Shape, result: Shape, plain: bool) -> Numbers:
    """Where each row of a tensor that broadcasts to the result begins among its elements."""
    if plain:
        return np.zeros(1, np.int64)
    numbers = np.arange(math.prod(shape)).reshape((1,) * (len(result) - len(shape)) + shape)
    return np.broadcast_to(numbers[..., :1], (*result[:-1], 1)).reshape(-1)


def _first_of_each(rows: Numbers) -> NDArray[np.bool_]:
    """True where a row begins where none before it does."""
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(rows, return_index=True)[1]] = True
    return first
