"""Products of linear forms in one pass, against the same sums in Python's integers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from parties.randomness import InsecureTestRandom
from protocols.fss.gates.forms import Form, layout_of, monomials
from protocols.kernels.form_products import BIT, LISTED, VALUE, VIEW, evaluate, share_out

WORD = 1 << 64
RING, DROP = 20, 5
FORMS = {
    LISTED: Form((), False, (0, 3)),
    BIT: Form((), True, (0,)),
    VALUE: Form((), True, (0,)),
    VIEW: Form((), True, (0, RING - DROP)),
}


def _coefficients(kind: int, values: list[int]) -> list[int]:
    """By the formulas of `protocols.fss.gates.polynomial`, the constant first."""
    (value, *_) = values
    if kind == LISTED:
        return values
    if kind == BIT:
        return [value & 1, 1 - 2 * (value & 1)]
    if kind == VALUE:
        return [value, -1]
    shifted = (value + (1 << (RING - 2))) % (1 << RING)
    return [(shifted >> DROP) - (1 << (RING - 2 - DROP)), -1, 1 - (shifted >> (RING - 1))]


def _secrets(kind: int, values: list[int]) -> list[int]:
    (value, *_) = values
    if kind == LISTED:
        return [values[0], values[1] << 3]
    if kind == BIT:
        return [value & 1]
    if kind == VALUE:
        return [value]
    mask = value % (1 << RING)
    return [mask >> DROP, (mask >> (RING - 1)) << (RING - DROP)]


def _numbers(kind: int, form: Form) -> list[int]:
    terms = len(form.zeros) + form.constant
    return [kind, RING, DROP, terms, int(form.constant), math.prod(form.shape)]


@pytest.mark.parametrize(
    "kinds", [*itertools.product(FORMS, repeat=2), (BIT, VIEW, VIEW), (LISTED, VIEW, VALUE)]
)
@pytest.mark.parametrize("shapes", [((3, 5),), ((3, 5), (3, 1)), ((2, 3, 150), (3, 1), (1,))])
def test_evaluation_and_sharing(kinds: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]) -> None:
    random = InsecureTestRandom(sum(kinds) + len(shapes))
    forms = tuple(
        Form(shapes[i % len(shapes)], FORMS[kind].constant, FORMS[kind].zeros) for i, kind in enumerate(kinds)
    )
    layout, choices = layout_of(forms), monomials(forms)
    lists = [2 if kind == LISTED else 1 for kind in kinds]
    values = [random.uint64((lists[i], math.prod(form.shape))) for i, form in enumerate(forms)]
    factors = np.array([_numbers(*pair) for pair in zip(kinds, forms, strict=True)], np.int64)
    item_shapes = [
        np.broadcast_shapes(*(f.shape for f, term in zip(forms, choice, strict=True) if term))
        for choice in choices
    ]
    sizes = [math.prod(shape) for shape in item_shapes]
    zeros = layout.of_products[3].tolist()
    at = dict(zip(np.ndindex(layout.shape), range(math.prod(layout.shape)), strict=True))

    def numbers(i: int, place: tuple[int, ...]) -> list[int]:
        """A factor's values at a place of the result."""
        shape = forms[i].shape
        own = tuple(0 if n == 1 else p for p, n in zip(place[len(place) - len(shape) :], shape, strict=True))
        return [int(row.reshape(shape)[own]) for row in values[i]]

    # -- a party
    shares = random.uint64((sum(sizes),))
    parts = [
        part.reshape(s) for part, s in zip(np.split(shares, np.cumsum(sizes)[:-1]), item_shapes, strict=True)
    ]
    out = np.empty(math.prod(layout.shape), np.uint64)
    flat = tuple(value.reshape(-1) for value in values)
    bounds = (0, layout.rows), (0, layout.width)
    evaluate(flat, factors, shares, *layout.of_products, 1, *bounds, layout.width, out)
    for place, index in list(at.items())[:: max(1, len(at) // 60)]:
        total = 0
        terms = [_coefficients(kind, numbers(i, place)) for i, kind in enumerate(kinds)]
        first = [0 if form.constant else 1 for form in forms]
        for choice in itertools.product(
            *(range(start, len(t) + start) for start, t in zip(first, terms, strict=True))
        ):
            product = math.prod(t[c - start] for t, c, start in zip(terms, choice, first, strict=True))
            if choice in choices:
                m = choices.index(choice)
                total += product * (int(np.broadcast_to(parts[m], layout.shape)[place]) << zeros[m])
            else:
                total += product
        assert int(out[index]) == total % WORD

    # -- the dealer
    if LISTED in kinds:
        flat = tuple(
            np.stack([value[0], value[1] << np.uint64(3)]).reshape(-1)
            if kind == LISTED
            else value.reshape(-1)
            for kind, value in zip(kinds, values, strict=True)
        )
    served = shares.copy()
    share_out(flat, factors, *layout.of_shares, *bounds, served)
    both = served + shares
    parts = [
        part.reshape(s) for part, s in zip(np.split(both, np.cumsum(sizes)[:-1]), item_shapes, strict=True)
    ]
    for place in list(at)[:: max(1, len(at) // 60)]:
        known = [_secrets(kind, numbers(i, place)) for i, kind in enumerate(kinds)]
        for m, choice in enumerate(choices):
            secret = math.prod(known[i][term - 1] for i, term in enumerate(choice) if term) % WORD
            assert int(np.broadcast_to(parts[m], layout.shape)[place]) == secret >> zeros[m]


def test_parts_of_a_product_are_the_whole() -> None:
    """Rows and columns may be worked on in any parts, as threads do."""
    random, form = InsecureTestRandom(1), Form((4, 300), True, (0, RING - DROP))
    layout = layout_of((form, Form((4, 1), True, (0,))))
    factors = np.array([_numbers(VIEW, form), [VALUE, RING, 0, 2, 1, 4]], np.int64)
    values = random.uint64((1200,)), random.uint64((4,))
    shares = random.uint64((3 * 1200 * 2,))
    whole, pieces = np.empty(1200, np.uint64), np.empty(1200, np.uint64)
    dealt, dealt_in_pieces = shares.copy(), shares.copy()

    def work(rows: tuple[int, int], columns: tuple[int, int], out: np.ndarray, to: np.ndarray) -> None:
        evaluate(values, factors, shares, *layout.of_products, 0, rows, columns, layout.width, out)
        share_out(values, factors, *layout.of_shares, rows, columns, to)

    work((0, 4), (0, 300), whole, dealt)
    for rows in ((0, 1), (1, 4)):
        for columns in ((0, 7), (7, 200), (200, 300)):
            work(rows, columns, pieces, dealt_in_pieces)
    assert torch.equal(torch.from_numpy(whole.view(np.int64)), torch.from_numpy(pieces.view(np.int64)))
    assert np.array_equal(dealt, dealt_in_pieces)
