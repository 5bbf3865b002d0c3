"""Products of masked values, without a round: sums of public coefficients times secrets the dealer shared.

A masked value is a linear form in secrets that the dealer knows, with public coefficients:

    x = xh - r                              a value read in its own ring
    x = p - (r >> f) + u 2^(n-f) msb(r)     a view: floor(x / 2^f), plus one at times, in any ring, where
                                            y = xh + 2^(n-2), p = (y >> f) - 2^(n-2-f), u = 1 - msb(y)
                                            and |x| < 2^(n-2)
    d = dh + (1 - 2 dh) m                   a bit opened as dh = d xor m
    s                                       a sign that only the dealer knows

so a product of such forms is a linear form in products of secrets. Each product of secrets is one additively
shared ring element of key; parties multiply it with its coefficient. Source: section 4 and 5 of the project's
protocol notes; the wrap term is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.clear import Clear
from protocols.fss.dealing import Dealing
from protocols.fss.gate import Gate, Shares, shape_only
from protocols.fss.material import Items, Shape, Shared
from protocols.fss.party import Party
from protocols.fss.ring import shift_right, top_bit
from protocols.fss.shapes import broadcast
from protocols.kernels.forms import BIT, SIGN, VALUE, VIEW, evaluate, share_out
from protocols.kernels.threads import in_parts
from protocols.share import Held, Share
from protocols.tensors import to_tensor, to_words


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """A factor that only the dealer knows, 1 or -1.

    Attributes:
        shape: of the factor.
        value: int64, at the dealer.
    """

    shape: Shape
    value: torch.Tensor | None = None


Factor = Share | Sign
"""A masked value or a view, a bit opened under XOR (one of 1 bit), or a sign."""


@dataclass(frozen=True, slots=True)
class Form:
    """What of a factor is known before any value is.

    Attributes:
        kind: `SIGN`, `BIT`, `VALUE` or `VIEW`.
        ring_bits, drop: of a view; else 0.
    """

    shape: Shape
    kind: int
    ring_bits: int = 0
    drop: int = 0

    @property
    def terms(self) -> range:
        """Its terms by number, 0 being the constant."""
        return range(1 if self.kind == SIGN else 0, 3 if self.kind == VIEW else 2)


def form_of(x: Factor) -> Form:
    """The form of a factor."""
    if isinstance(x, Sign):
        return Form(x.shape, SIGN)
    if x.ring_bits == 1:
        return Form(x.shape, BIT)
    return Form(x.shape, VALUE) if x.drop is None else Form(x.shape, VIEW, x.ring_bits, x.drop)


def public_part(x: Share) -> tuple[torch.Tensor, torch.Tensor]:
    """p and u of a view, as this file's page has them."""
    assert x.drop is not None
    shifted = x.value + (1 << (x.ring_bits - 2))
    wraps = top_bit(shifted, x.ring_bits).bitwise_xor_(1)
    return shift_right(shifted, x.drop, x.ring_bits).sub_(1 << (x.ring_bits - 2 - x.drop)), wraps


def secret_part(x: Share) -> tuple[torch.Tensor, torch.Tensor]:
    """The dealer's secrets of a view, r >> f and the wrap term; `x.value` is the mask."""
    assert x.drop is not None
    wrap = top_bit(x.value, x.ring_bits) << (x.ring_bits - x.drop)
    return shift_right(x.value, x.drop, x.ring_bits), wrap


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """How the secrets of a product lie, end to end, and what the loops need to know.

    Attributes:
        shape: of the result.
        rows, width: its elements, as rows; one row where everything has a number for every element.
        choices: int64 [M, F], which term of each factor a monomial takes; the all-constant one is left out.
        shapes: of each monomial's secret.
        factors, factor_rows, items, item_rows, fresh: see `protocols.kernels.forms`.
    """

    shape: Shape
    rows: int
    width: int
    choices: NDArray[np.int64]
    shapes: tuple[Shape, ...]
    factors: NDArray[np.int64]
    factor_rows: NDArray[np.int64]
    items: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    fresh: NDArray[np.bool_]


@lru_cache(maxsize=1 << 12)
def _layout(forms: tuple[Form, ...]) -> _Layout:
    """The layout of a product, whose factors broadcast."""
    shape = broadcast(*(form.shape for form in forms))
    choices = [choice for choice in product(*(form.terms for form in forms)) if any(choice)]
    shapes = tuple(
        broadcast(*(form.shape for form, term in zip(forms, choice, strict=True) if term))
        for choice in choices
    )
    plain = all(form.shape == shape for form in forms) or not shape
    width = math.prod(shape) if plain else shape[-1]
    starts = accumulate((math.prod(each) for each in shapes), initial=0)
    item_rows = [start + _rows(each, shape, plain) for start, each in zip(starts, shapes, strict=False)]
    return _Layout(
        shape,
        1 if plain else math.prod(shape[:-1]),
        width,
        np.array(choices, np.int64),
        shapes,
        np.array([(f.kind, f.ring_bits, f.drop, _by_column(f.shape, shape, plain)) for f in forms], np.int64),
        np.array([_rows(form.shape, shape, plain) for form in forms], np.int64),
        np.array([_by_column(each, shape, plain) for each in shapes], np.int64),
        np.array(item_rows, np.int64),
        np.array([_first_of_each(rows) for rows in item_rows], np.bool_),
    )


def _by_column(shape: Shape, result: Shape, plain: bool) -> bool:
    """Whether a tensor that broadcasts to the result has a number for every column."""
    return plain or (shape[-1:] == result[-1:] and result[-1] > 1)


def _rows(shape: Shape, result: Shape, plain: bool) -> NDArray[np.int64]:
    """Where each row of a tensor that broadcasts to the result begins among its elements."""
    if plain:
        return np.zeros(1, np.int64)
    numbers = np.arange(math.prod(shape)).reshape((1,) * (len(result) - len(shape)) + shape)
    return np.broadcast_to(numbers[..., :1], (*result[:-1], 1)).reshape(-1)


def _first_of_each(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(rows, return_index=True)[1]] = True
    return first


def key_items(name: str, factors: Sequence[Factor], bits: int) -> Items:
    """The shared secrets that a product of factors takes."""
    return _key_items(name, tuple(map(form_of, factors)), bits).copy()


@lru_cache(maxsize=1 << 12)
def _key_items(name: str, forms: tuple[Form, ...], bits: int) -> Items:
    layout = _layout(forms)
    pairs = zip(layout.choices.tolist(), layout.shapes, strict=True)
    return {f"{name}{tuple(choice)}": Shared(shape, bits) for choice, shape in pairs}


def deal_product(dealing: Dealing, factors: Sequence[Factor], bits: int) -> None:
    """Hands out the shares of `key_items`; the values of the factors are masks, or signs."""
    layout = _layout(tuple(map(form_of, factors)))
    items = tuple(Shared(shape, bits) for shape in layout.shapes)

    def complement(shares: NDArray[np.uint64]) -> None:
        values = tuple(_flat(x.value) for x in factors)

        def run(rows: tuple[int, int], columns: tuple[int, int]) -> None:
            share_out(
                values,
                layout.factors,
                layout.factor_rows,
                layout.choices,
                layout.items,
                layout.item_rows,
                layout.fresh,
                rows,
                columns,
                shares,
            )

        in_parts(run, layout.rows, layout.width)

    dealing.share_together(items, complement)


def evaluate_product(party: Party, factors: Sequence[Factor], bits: int) -> torch.Tensor:
    """This party's additive share of a product of factors."""
    layout = _layout(tuple(map(form_of, factors)))
    secrets = to_words(party.shared_together(tuple(Shared(shape, bits) for shape in layout.shapes)))
    values = tuple(_NOTHING if isinstance(x, Sign) else _flat(x.value) for x in factors)
    result = np.empty(layout.rows * layout.width, np.uint64)

    def run(rows: tuple[int, int], columns: tuple[int, int]) -> None:
        evaluate(
            values,
            layout.factors,
            layout.factor_rows,
            secrets,
            layout.items,
            layout.item_rows,
            party.first,
            rows,
            columns,
            layout.width,
            result,
        )

    in_parts(run, layout.rows, layout.width)
    return to_tensor(result).reshape(layout.shape)


_NOTHING = np.empty(0, np.uint64)


def _flat(value: torch.Tensor | None) -> NDArray[np.uint64]:
    """A tensor's elements in order, as words."""
    assert value is not None
    return to_words(value).reshape(-1)


@final
class Product(Gate):
    """The product of masked values or views, broadcast, as an additive share in a ring of one's choice.

    Values that are read as they are must lie in a ring at least as wide; views may lie in any.

    Args:
        ring_bits: of the result.

    Cost: no round, nothing online. Key: ring_bits an element to the server for each product of secrets: 3 for
        two values, 5 for a view and a value.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "product"

    def __init__(self, ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def items(self, *inputs: Share) -> Items:
        return key_items("key", inputs, self._ring_bits)

    def outputs(self, *inputs: Share) -> Shares:
        shape = broadcast(*(x.shape for x in inputs))
        return (shape_only(shape, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        self._check(*inputs)
        value = evaluate_product(party, inputs, self._ring_bits)
        return (Share(value, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        deal_product(dealing, inputs, self._ring_bits)
        return self.outputs(*inputs)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        value = math.prod((x.value for x in inputs), start=torch.tensor(1))
        largest = math.prod(float(x.value.abs().max()) if x.value.numel() else 0.0 for x in inputs)
        frac_bits = sum(x.frac_bits for x in inputs)
        if largest >= 2.0**62:
            exact = math.prod((x.value.double() for x in inputs), start=torch.tensor(1.0))
            clear.check_magnitude(exact, self._ring_bits, frac_bits)
        return (Share(value, frac_bits, self._ring_bits),)

    def _check(self, *inputs: Share) -> None:
        for x in inputs:
            assert x.held is Held.MASKED, f"{x!r} is not masked"
            if x.drop is None and x.ring_bits != 1:
                assert x.ring_bits >= self._ring_bits, f"{x!r} read into {self._ring_bits} bits"


@final
class SumOfSquares(Gate):
    """Each row's sum of squares of a view, over the last axis.

    With x = p - R + u w as in this file's page, x^2 = p^2 - 2 p R + 2 p u w + R^2 + u (w^2 - 2 R w): three
    shared secrets an element, R, w and w^2 - 2 R w, and one a row, the sum of R^2.

    Cost: no round, nothing online. Key: 3 ring_bits an element, ring_bits a row, to the server.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "squares"

    def __init__(self, ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def items(self, *inputs: Share) -> Items:
        (x,) = inputs
        element, row = Shared(x.shape, self._ring_bits), Shared((*x.shape[:-1], 1), self._ring_bits)
        return {"mask": element, "wrap": element, "cross": element, "square": row}

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only((*x.shape[:-1], 1), 2 * x.frac_bits, self._ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        items = self.items(x)
        mask, wrap, cross, square = (party.shared(item) for item in items.values())
        p, u = public_part(x)
        rows = (2 * p * (u * wrap - mask) + u * cross + party.first * p * p).sum(-1, keepdim=True)
        return (Share(rows + square, 2 * x.frac_bits, self._ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, wrap = secret_part(x)
        square = (mask * mask).sum(-1, keepdim=True)
        values = (mask, wrap, wrap * wrap - 2 * mask * wrap, square)
        for item, value in zip(self.items(x).values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(x)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        (x,) = inputs
        exact = x.value.double().square().sum(-1)
        clear.check_magnitude(exact, self._ring_bits, 2 * x.frac_bits)
        return (Share((x.value * x.value).sum(-1, keepdim=True), 2 * x.frac_bits, self._ring_bits),)
