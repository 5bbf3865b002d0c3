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

Source: docs/protocols.md, section 4, which derives the wrap term.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Shares, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.forms import Form, layout_of, monomials
from protocols.fss.gates.terms import Coefficient, Terms, coefficients, listed, secrets
from protocols.fss.preprocessing.correlations import Correlations, Shape, Shared
from protocols.fss.preprocessing.parts import parts
from protocols.kernels.form_products import evaluate, share_out
from protocols.kernels.parallel import in_parts
from protocols.meta_tensors import broadcast
from protocols.share import Held, Share
from protocols.tensors import to_tensor, to_words

TermList = Terms | Sequence[Coefficient]
PRODUCT_TOGETHER = 1 << 16
"""Elements whose shares lie together, secret after secret: some megabytes, which are read and used up."""


def form_of(x: Share) -> Form:
    """The form of a masked value or view; one of 1 bit is a bit opened under XOR."""
    return Form(x.shape, True, (0,) if x.drop is None else (0, x.ring_bits - x.drop))


def known_form(shape: Shape) -> Form:
    """The form of a number that the dealer knows, such as a sign."""
    return Form(shape, False, (0,))


def key_correlations(name: str, forms: Sequence[Form], bits: int) -> Correlations:
    """The shared secrets that a product of forms takes."""
    return {f"{name}{choice}": item for choice, item in _correlations(tuple(forms), bits).items()}


@lru_cache(maxsize=1 << 12)
def _correlations(forms: tuple[Form, ...], bits: int) -> dict[tuple[int, ...], Shared]:
    """The correlations of a product, by monomial."""
    correlations: dict[tuple[int, ...], Shared] = {}
    for choice in monomials(forms):
        chosen = [(form, term) for form, term in zip(forms, choice, strict=True) if term]
        shape = broadcast(*(form.shape for form, _ in chosen))
        correlations[choice] = Shared(shape, bits, sum(form.zeros[term - 1] for form, term in chosen))
    return correlations


def deal_product(dealing: DealerSide, forms: Sequence[Form], values: Sequence[TermList], bits: int) -> None:
    """Hands out the shares of a product of forms, as in `key_correlations`; `values` are each form's
    secrets."""
    for piece in _pieces(forms, values):
        dealing.share_together(tuple(_correlations(piece.forms, bits).values()), piece.share_out)


def evaluate_product(
    party: PartySide, forms: Sequence[Form], terms: Sequence[TermList], bits: int
) -> torch.Tensor:
    """This party's additive share of a product of forms; `terms` are each form's coefficients.

    A form without a constant has none in its list.
    """
    shape = broadcast(*(form.shape for form in forms))
    result = np.empty(math.prod(shape), np.uint64)
    for piece in _pieces(forms, terms):
        shares = to_words(party.shared_together(tuple(_correlations(piece.forms, bits).values())))
        piece.evaluate(shares, party.first, result[piece.elements])
    return to_tensor(result).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Some neighbouring elements of a product, as the loops in `protocols.kernels.form_products` take them.

    Attributes:
        elements: which of all.
        forms: of these elements.
        values, numbers: of the factors.
    """

    elements: slice
    forms: tuple[Form, ...]
    values: tuple[NDArray[np.uint64], ...]
    numbers: NDArray[np.int64]

    def evaluate(self, shares: NDArray[np.uint64], first: int, out: NDArray[np.uint64]) -> None:
        """Fills `out` with a party's share of the product; see `protocols.kernels.form_products`."""
        layout = layout_of(self.forms)
        around = (*layout.of_products, first)
        in_parts(
            lambda rows, columns: evaluate(
                self.values, self.numbers, shares, *around, rows, columns, layout.width, out
            ),
            layout.rows,
            layout.width,
        )

    def share_out(self, shares: NDArray[np.uint64]) -> None:
        """Turns the client's shares of all secrets into the server's."""
        layout = layout_of(self.forms)
        in_parts(
            lambda rows, columns: share_out(
                self.values, self.numbers, *layout.of_shares, rows, columns, shares
            ),
            layout.rows,
            layout.width,
        )


def _pieces(forms: Sequence[Form], terms: Sequence[TermList]) -> Iterator[_Piece]:
    """All of a product; `PRODUCT_TOGETHER` elements at a time where every form has one for each."""
    shape = broadcast(*(form.shape for form in forms))
    alike = all(form.shape == shape for form in forms)
    cuts = parts(math.prod(shape), PRODUCT_TOGETHER if alike else max(1, math.prod(shape)))
    given = [term if isinstance(term, Terms) else listed(term) for term in terms]
    whole = [cuts if alike else (slice(0, math.prod(form.shape)),) for form in forms]
    factors = [each.factors(form, own) for each, form, own in zip(given, forms, whole, strict=True)]
    for cut, *found in zip(cuts, *factors, strict=True):
        own = tuple(forms)
        if len(cuts) > 1:
            own = tuple(Form((cut.stop - cut.start,), form.constant, form.zeros) for form in forms)
        numbers = np.array([factor.numbers for factor in found], np.int64)
        yield _Piece(cut, own, tuple(factor.values for factor in found), numbers)


def square_wraps(x: Share, bits: int) -> Correlations:
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

    def correlations(self, *inputs: Share) -> Correlations:
        return key_correlations("key", [form_of(x) for x in inputs], self._ring_bits)

    def outputs(self, *inputs: Share) -> Shares:
        shape = broadcast(*(x.shape for x in inputs))
        return (shape_only(shape, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        self._check(*inputs)
        forms = [form_of(x) for x in inputs]
        value = evaluate_product(party, forms, [coefficients(x) for x in inputs], self._ring_bits)
        return (Share(value, sum(x.frac_bits for x in inputs), self._ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        forms = [form_of(x) for x in inputs]
        deal_product(dealing, forms, [secrets(x) for x in inputs], self._ring_bits)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
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

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        row = Shared((*x.shape[:-1], 1), self._ring_bits)
        return {"mask": Shared(x.shape, self._ring_bits), **square_wraps(x, self._ring_bits), "square": row}

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only((*x.shape[:-1], 1), 2 * x.frac_bits, self._ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        correlations = self.correlations(x)
        mask, wrap, cross, square = (party.shared(item) for item in correlations.values())
        p, _, u = coefficients(x)
        rows = (2 * p * (u * wrap - mask) + u * cross + party.first * p * p).sum(-1, keepdim=True)
        return (Share(rows + square, 2 * x.frac_bits, self._ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, wrap = secrets(x)
        square = (mask * mask).sum(-1, keepdim=True)
        values = (mask, wrap, wrap * wrap - 2 * mask * wrap, square)
        for item, value in zip(self.correlations(x).values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(x)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        exact = x.value.double().square().sum(-1)
        clear.check_magnitude(exact, self._ring_bits, 2 * x.frac_bits)
        return (Share((x.value * x.value).sum(-1, keepdim=True), 2 * x.frac_bits, self._ring_bits),)
