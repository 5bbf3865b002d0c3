"""Products of masked values, without a round: sums of public coefficients times secrets the dealer shared.

A masked value is a linear form in secrets that the dealer knows, with public coefficients:

    x = xh - r                              a value read in its own ring
    x = p - (r >> f) + u 2^(n-f) msb(r)     a view: floor(x / 2^f), plus one at times, in any ring, where
                                            y = xh + 2^(n-2), p = (y >> f) - 2^(n-2-f), u = 1 - msb(y)
                                            and |x| < 2^(n-2)
    d = dh + (1 - 2 dh) m                   a bit opened as dh = d xor m
    s                                       a sign that only the dealer knows

so a product of such forms is a linear form in products of secrets. Each product of secrets is one additively
shared ring element of key; parties multiply it with its coefficient. The low n - f bits of a wrap, which is
2^(n-f) msb(r), are zero: a product with it is shared in a ring of as many bits less.

Source: section 4 and 5 of the project's protocol notes; the wrap term is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, final

import torch

from protocols.fss.clear import Clear
from protocols.fss.dealing import Dealing
from protocols.fss.gate import Gate, Shares, shape_only
from protocols.fss.material import Items, Shape, Shared
from protocols.fss.party import Party
from protocols.fss.ring import shift_right, top_bit
from protocols.fss.shapes import broadcast
from protocols.share import Held, Share

Coefficient = torch.Tensor | int


@dataclass(frozen=True, slots=True)
class Form:
    """A linear form: a shape, a constant term or none, and some secrets.

    Attributes:
        zeros: of each secret, how many low bits are zero whatever it is.
    """

    shape: Shape
    constant: bool
    zeros: tuple[int, ...]


def form_of(x: Share) -> Form:
    """The form of a masked value or view; one of 1 bit is a bit opened under XOR."""
    return Form(x.shape, True, (0,) if x.drop is None else (0, x.ring_bits - x.drop))


def known_form(shape: Shape) -> Form:
    """The form of a number that the dealer knows, such as a sign."""
    return Form(shape, False, (0,))


def coefficients(x: Share) -> list[Coefficient]:
    """A party's public coefficients of `form_of(x)`, the constant first."""
    if x.ring_bits == 1:
        bit = x.value & 1
        return [bit, 1 - 2 * bit]
    if x.drop is None:
        return [x.value, -1]
    shifted = x.value + (1 << (x.ring_bits - 2))
    wraps = top_bit(shifted, x.ring_bits).bitwise_xor_(1)
    public = shift_right(shifted, x.drop, x.ring_bits).sub_(1 << (x.ring_bits - 2 - x.drop))
    return [public, -1, wraps]


def secrets(x: Share) -> list[torch.Tensor]:
    """The dealer's secrets of `form_of(x)`; `x.value` is the mask."""
    if x.ring_bits == 1:
        return [x.value & 1]
    if x.drop is None:
        return [x.value]
    wrap = top_bit(x.value, x.ring_bits) << (x.ring_bits - x.drop)
    return [shift_right(x.value, x.drop, x.ring_bits), wrap]


def monomials(forms: Sequence[Form]) -> list[tuple[int, ...]]:
    """Which term of each form a product takes, 0 being the constant; the all-constant product is left out."""
    choices = [range(0 if form.constant else 1, len(form.zeros) + 1) for form in forms]
    return [choice for choice in product(*choices) if any(choice)]


def key_items(name: str, forms: Sequence[Form], bits: int) -> Items:
    """The shared secrets that a product of forms takes."""
    items: Items = {}
    for choice in monomials(forms):
        chosen = [(form, term) for form, term in zip(forms, choice, strict=True) if term]
        shape = broadcast(*(form.shape for form, _ in chosen))
        items[f"{name}{choice}"] = Shared(shape, bits, sum(form.zeros[term - 1] for form, term in chosen))
    return items


def deal_product(
    dealing: Dealing, name: str, forms: Sequence[Form], values: Sequence[Sequence[torch.Tensor]], bits: int
) -> None:
    """Hands out the shares of `key_items`; `values` are each form's secrets."""
    items = key_items(name, forms, bits)
    for choice, item in zip(monomials(forms), items.values(), strict=True):
        factors = [known[term - 1] for known, term in zip(values, choice, strict=True) if term]
        secret = factors[0]
        for factor in factors[1:]:
            secret = secret * factor
        dealing.share(item, secret)


def evaluate_product(
    party: Party, name: str, forms: Sequence[Form], terms: Sequence[Sequence[Coefficient]], bits: int
) -> torch.Tensor:
    """This party's additive share of a product of forms; `terms` are each form's coefficients.

    A form without a constant has none in its list.
    """
    items = iter(key_items(name, forms, bits).values())

    def sum_from(depth: int, secret: bool) -> Coefficient:
        """The forms from `depth` on, summed up, for one choice of terms before: with a secret or without."""
        if depth == len(forms):
            return party.shared(next(items)) if secret else party.first
        total: Coefficient = 0
        for place, coefficient in enumerate(terms[depth]):
            constant = forms[depth].constant and place == 0
            total = _add_product(total, coefficient, sum_from(depth + 1, secret or not constant))
        return total

    shape = broadcast(*(form.shape for form in forms))
    return torch.as_tensor(sum_from(0, False)).expand(shape)


def _add_product(total: Coefficient, a: Coefficient, b: Coefficient) -> Coefficient:
    """total + a b; overwrites `total`, which nobody else has, where that has the shape of the result."""
    if isinstance(b, int):
        a, b = b, a
    if isinstance(a, int) and a == 0:
        return total
    if isinstance(total, int):
        return a * b + total if total else a * b
    shapes = [factor.shape for factor in (a, b) if isinstance(factor, torch.Tensor)]
    shape = broadcast(total.shape, *shapes)
    room = total if total.shape == shape else total.expand(shape).clone()
    if isinstance(a, int):
        return room.add_(b, alpha=a)
    return room.add_(a, alpha=b) if isinstance(b, int) else room.addcmul_(a, b)


def square_wraps(x: Share, bits: int) -> Items:
    """What the square of a view takes beyond mask and square: w, and w^2 - 2 R w, an even multiple of w."""
    assert x.drop is not None, f"{x!r} is no view"
    view_bits = x.ring_bits - x.drop
    return {"wrap": Shared(x.shape, bits, view_bits), "cross": Shared(x.shape, bits, view_bits + 1)}


@final
class Product(Gate):
    """The product of masked values or views, broadcast, as an additive share in a ring of one's choice.

    Values that are read as they are must lie in a ring at least as wide; views may lie in any.

    Args:
        ring_bits: of the result.

    Cost: no round, nothing online. Key: ring_bits an element to the server for each product of secrets: 3 for
        two values, 5 for a view and a value. Each wrap in it saves the view's bits.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "product"

    def __init__(self, ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def items(self, *inputs: Share) -> Items:
        return key_items("key", [form_of(x) for x in inputs], self._ring_bits)

    def outputs(self, *inputs: Share) -> Shares:
        shape = broadcast(*(x.shape for x in inputs))
        return (shape_only(shape, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        self._check(*inputs)
        forms = [form_of(x) for x in inputs]
        value = evaluate_product(party, "key", forms, [coefficients(x) for x in inputs], self._ring_bits)
        return (Share(value, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        forms = [form_of(x) for x in inputs]
        deal_product(dealing, "key", forms, [secrets(x) for x in inputs], self._ring_bits)
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
    shared secrets an element, R, w and w^2 - 2 R w, and one a row, the sum of R^2. With a view of m bits w is
    a multiple of 2^m, and the third of 2^(m+1).

    Cost: no round, nothing online. Key: 3 ring_bits - 2 m - 1 an element, ring_bits a row, to the server.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "squares"

    def __init__(self, ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def items(self, *inputs: Share) -> Items:
        (x,) = inputs
        row = Shared((*x.shape[:-1], 1), self._ring_bits)
        return {"mask": Shared(x.shape, self._ring_bits), **square_wraps(x, self._ring_bits), "square": row}

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only((*x.shape[:-1], 1), 2 * x.frac_bits, self._ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        items = self.items(x)
        mask, wrap, cross, square = (party.shared(item) for item in items.values())
        p, _, u = coefficients(x)
        rows = (2 * p * (u * wrap - mask) + u * cross + party.first * p * p).sum(-1, keepdim=True)
        return (Share(rows + square, 2 * x.frac_bits, self._ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, wrap = secrets(x)
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
