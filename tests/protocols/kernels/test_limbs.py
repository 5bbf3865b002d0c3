"""Limbs and their products: every value of small rings, the extreme ones of every width, and the bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from protocols.kernels.float_products import float_products
from protocols.kernels.limbs import EXACT_BITS, Digits, Split, best_split, split_limbs
from tests.protocols.kernels.test_ring import ring, slow_product


def limbs_of(values: torch.Tensor, digits: Digits) -> torch.Tensor:
    """[limbs, values], as integers."""
    room = torch.full((1, digits.count, 1, values.numel()), torch.nan, dtype=torch.float64)
    source = values.reshape(1, 1, -1).contiguous()
    split_limbs(source.numpy(), (0, 0, 0), digits.bits, digits.width, room.numpy())
    whole = room[0, :, 0].long()
    assert torch.equal(whole.double(), room[0, :, 0])
    return whole


def extremes(bits: int, width: int) -> torch.Tensor:
    """Words at the ends of a ring, and at the borders of limbs with all carries on the way."""
    ends = {0, 1, -1, (1 << (bits - 1)) - 1, -(1 << (bits - 1)), (1 << bits) - 1, 1 << (bits - 1)}
    half = 1 << (width - 1)
    places = range(0, bits, width)
    for low in (half, half - 1, -half, half + 1):
        ends.add(sum(low << place for place in places))  # every limb at its border: the carry runs through
        ends.add(sum((low if i % 2 else -low) << place for i, place in enumerate(places)))
        ends.update(low << place for place in places)
    ends.update(0x5555555555555555 << shift for shift in (0, 1))
    return torch.tensor([(v + (1 << 63)) % (1 << 64) - (1 << 63) for v in sorted(ends)])


def every_digits(bits: int) -> list[Digits]:
    """All splits into limbs of 2 to 32 bits; the last limb may be narrow."""
    return [
        Digits(bits, width, -(-bits // width))
        for width in range(2, 33)
        if width < bits or -(-bits // width) == 1
    ]


@pytest.mark.parametrize("bits", range(1, 65))
def test_limbs_add_up_and_are_small(bits: int) -> None:
    for digits in every_digits(bits) or [Digits(bits, bits, 1)]:
        values = extremes(bits, digits.width)
        limbs = limbs_of(values, digits)
        shifts = torch.arange(digits.count) * digits.width
        total = (limbs << shifts[:, None]).sum(0)
        assert torch.equal(total << (64 - bits), values << (64 - bits))
        last = bits - digits.width * (digits.count - 1)
        largest = torch.tensor([1 << (digits.width - 1)] * (digits.count - 1) + [1 << (last - 1)])
        assert bool((limbs.abs() <= largest[:, None]).all())


@pytest.mark.parametrize("bits", range(2, 7))
def test_all_pairs_of_small_rings(bits: int) -> None:
    """Every product of two words of a ring, with limbs of every width on either side."""
    every = torch.arange(-(1 << bits), 1 << bits)  # bits above the ring are not looked at
    low = (1 << bits) - 1
    expected = every[:, None] * every & low
    choices = [Digits(bits, width, -(-bits // width)) for width in range(2, bits + 1)]
    for x, w in itertools.product(choices, choices):
        out = torch.zeros(1, len(every), len(every), dtype=torch.int64)
        float_products(every.view(1, -1, 1), every.view(1, 1, -1), out, Split(x, w, bits))
        assert torch.equal(out[0] & low, expected)


@pytest.mark.parametrize("bits", [1, 2, 16, 31, 32, 33, 39, 47, 48, 52, 53, 63, 64])
@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.int64])
def test_extreme_words_in_the_longest_sums(bits: int, kind: torch.dtype) -> None:
    """Sums as long as the bound allows, and one longer, of words whose limbs are as large as they can be."""
    split = best_split(64, torch.iinfo(kind).bits, bits, 128)
    low = (1 << bits) - 1
    k = min(split.longest, 600)
    for length in (k, k + 1):
        for x, w in itertools.product(extremes(bits, split.x.width)[:8], extremes(bits, split.w.width)[:8]):
            weight = w.to(kind)
            rows, columns = x.repeat(1, 1, length), weight.repeat(1, length, 1)
            out = torch.zeros(1, 1, 1, dtype=torch.int64)
            float_products(rows, columns, out, split)
            assert int(out) & low == int(x) * int(weight) * length & low


@pytest.mark.parametrize("ring_bits", [8, 39, 48, 64])
@pytest.mark.parametrize("w_bits", [16, 32, 64])
@pytest.mark.parametrize("k", [1, 64, 129, 3072])
def test_the_bound_holds(ring_bits: int, w_bits: int, k: int) -> None:
    split = best_split(64, w_bits, ring_bits, k)
    largest = 1 << (split.x.width - 1 + split.w.width - 1)
    assert split.longest * largest <= 1 << EXACT_BITS < 2 * split.longest * largest
    for digits, bits in ((split.x, ring_bits), (split.w, min(w_bits, ring_bits))):
        assert digits.bits == bits
        assert digits.width * (digits.count - 1) < bits <= digits.width * digits.count
    for i, j in itertools.product(range(split.x.count), range(split.w.count)):
        assert (i < split.partners(j)) == (i * split.x.width + j * split.w.width < ring_bits)


def test_how_many_products_there_are() -> None:
    """As the issue of speed asks: few."""
    assert best_split(64, 16, 47, 768).products == 2
    assert best_split(64, 16, 64, 768).products == 2
    assert best_split(64, 64, 48, 768).products == 3
    assert best_split(64, 64, 64, 768).products == 6


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("batches", "m", "k", "n"),
    [
        (1, 3, 511, 5),
        (1, 3, 512, 5),
        (1, 2, 513, 3),
        (1, 513, 2, 514),
        (7, 5, 9, 4),
        (9, 40, 300, 300),
        (0, 2, 2, 2),
    ],
)
def test_borders_of_blocks(batches: int, m: int, k: int, n: int, transposed: bool) -> None:
    split = best_split(64, 64, 64, k)
    x, w = ring(m, batches, m, k), ring(n, batches, k, n)
    out = torch.ones(batches, m, n, dtype=torch.int64)
    laid = w.transpose(1, 2).contiguous() if transposed else w
    float_products(x, laid, out, split, transposed=transposed)
    assert torch.equal(out, torch.matmul(x, w) + 1)
    if batches and m * k * n < 10_000:
        assert torch.equal(out[0] - 1, slow_product(x[0], w[0]))


def test_arrays_are_of_the_width_that_is_said() -> None:
    """A ring of 64 bits wraps where the carry leaves the last limb."""
    limbs = limbs_of(torch.tensor([(1 << 63) - 1]), Digits(64, 22, 3))
    assert limbs[:, 0].tolist() == [-1, 0, -(1 << 19)]
    assert np.int64((-1 + (-(1 << 19) << 44)) % (1 << 64)) == (1 << 63) - 1
