"""Comparison on packed bits: exact for every pair of shares, its stated cost, uniform openings."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from parties.meter import CLIENT, SERVER
from protocols.additive.correlations import words
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.crypten.packed_comparison import less_than_zero
from protocols.arithmetic.bits import squeezed_bytes
from protocols.arithmetic.carry import levels
from tests.controls import comparison as controls
from tests.controls.comparison import Comparison
from tests.protocols.additive.crypten.test_openings import chi_square, chi_square_limit

Parties = Callable[..., Any]


def signed(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Remainders modulo 2^bits as signed numbers."""
    low = value & ((1 << bits) - 1) if bits < 64 else value
    return torch.where(low >> (bits - 1) & 1 == 1, low - (1 << bits), low) if bits < 64 else low


def compared(
    parties: Parties, pairs: list[tuple[torch.Tensor, torch.Tensor, int]], step: Comparison = less_than_zero
) -> list[torch.Tensor]:
    """What comparisons of (server's share, client's share, bits) amount to."""

    def body(executor: CrypTenArithmetic) -> list[torch.Tensor]:
        return [step(executor.session, pair[executor.rank].clone(), pair[2]) for pair in pairs]

    server, client = parties(body).results
    return [a + b for a, b in zip(server, client, strict=True)]


def every_pair(bits: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, int]:
    """All pairs of shares modulo 2^bits, with anything above those bits."""
    low = torch.arange(1 << bits)
    x, y = low.repeat_interleave(1 << bits), low.repeat(1 << bits)
    above = torch.randint(-(1 << 40), 1 << 40, (2, x.numel()), generator=generator) << bits
    return x + above[0], y + above[1], bits


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_every_pair_of_shares(parties: Parties, generator: torch.Generator, bits: int) -> None:
    pair = every_pair(bits, generator)
    [result] = compared(parties, [pair])
    assert torch.equal(result, (signed(pair[0] + pair[1], bits) < 0).long())


def edges(bits: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The largest numbers and those next to zero, under shares with long carries; and random ones."""
    top = 1 << (bits - 1)
    values = [0, 1, -1, 2, -2, top - 1, top - 2, 1 - top, -top]
    shares = [
        0,
        1,
        -1,
        top - 1,
        -top,
        top // 2,
        0x5555555555555555 & (top - 1),
        0x2AAAAAAAAAAAAAAA & (top - 1),
    ]
    rows = torch.tensor([[wrap(v - s), wrap(s)] for v, s in itertools.product(values, shares)])
    secret = signed(torch.randint(-(1 << 63), (1 << 63) - 1, (200,), generator=generator), bits)
    share = torch.randint(-(1 << 63), (1 << 63) - 1, (200,), generator=generator)
    return torch.cat([rows[:, 0], secret - share]), torch.cat([rows[:, 1], share]), bits


def wrap(value: int) -> int:
    """Modulo 2^64, signed."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def test_edges_of_every_width(parties: Parties, generator: torch.Generator) -> None:
    pairs = [edges(bits, generator) for bits in range(2, 65)]
    for pair, result in zip(pairs, compared(parties, pairs), strict=True):
        assert torch.equal(result, (signed(pair[0] + pair[1], pair[2]) < 0).long()), pair[2]


def test_beyond_the_promised_size_the_sign_is_that_of_the_remainder(parties: Parties) -> None:
    secret = torch.tensor([1 << 31, -(1 << 31) - 1, (1 << 32) - 1, 1 << 32, -(1 << 33)])
    [result] = compared(parties, [(secret, torch.zeros_like(secret), 32)])
    assert result.tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "shape", [(), (1,), (0,), (3, 0), (7,), (8,), (2, 3, 4), (9, 11), (1001,), (40_000,)]
)
@pytest.mark.parametrize("bits", [2, 8, 32, 40, 64])
def test_shapes_and_costs(parties: Parties, shape: tuple[int, ...], bits: int) -> None:
    def body(executor: CrypTenArithmetic) -> torch.Tensor:
        with executor.meter.span("compare"):
            return less_than_zero(executor.session, torch.full(shape, -executor.rank), bits)

    run = parties(body)
    assert torch.equal(run.results[SERVER] + run.results[CLIENT], torch.ones(shape, dtype=torch.int64))
    row, n, tree = run.row("compare"), int(torch.Size(shape).numel()), levels(bits - 1)
    each_way = [*(squeezed_bytes(level.opened, n) for level in tree), squeezed_bytes(1, n)]
    assert row.rounds == len(each_way)
    assert (row.online_bytes_to_server, row.online_bytes_to_client) == (sum(each_way), sum(each_way))
    assert [f.payload_bytes for f in run.channels[SERVER].sent if f.label.startswith("compare/")] == each_way
    dealt = sum(squeezed_bytes(level.products, n) for level in tree) + 8 * n
    assert (row.offline_bytes_to_server, row.offline_bytes_to_client) == (dealt, 0)
    assert run.dealt.bytes_to_server == dealt


def test_the_cost_at_32_bits(parties: Parties) -> None:
    """65 bits each way in 4 rounds, and 187 bits and a ring element from the dealer."""

    def body(executor: CrypTenArithmetic) -> None:
        with executor.meter.span("compare"):
            less_than_zero(executor.session, torch.zeros(800, dtype=torch.int64), 32)

    row = parties(body).row("compare")
    assert (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client) == (4, 6500, 6500)
    assert row.offline_bytes_to_server == 800 * 187 // 8 + 800 * 8


# -- what is opened ------------------------------------------------------------------------------------------

ELEMENTS = 8 * 4096
"""A slice then has 4,096 bytes: 16 are expected in each of 256 cells."""
SECRETS = {
    "zeros": torch.zeros(ELEMENTS, dtype=torch.int64),
    "minus one": torch.full((ELEMENTS,), -1),
    "largest": torch.full((ELEMENTS,), (1 << 31) - 1),
    "smallest": torch.full((ELEMENTS,), -(1 << 31)),
    "alternating": torch.arange(ELEMENTS) % 2 * 2 - 1,
    "ramp": torch.arange(ELEMENTS) - ELEMENTS // 2,
}


def opened(parties: Parties, secret: torch.Tensor, step: Comparison, *, shared: bool) -> torch.Tensor:
    """Every slice that is opened, of all messages [slices, bytes]; checks the result too.

    Args:
        shared: whether the secret is shared as everywhere; otherwise the server's share is the secret itself
            and the client's is zero, which the masks must hide just as well.
    """

    def body(executor: CrypTenArithmetic) -> torch.Tensor:
        noise = words(executor.session.zero, (ELEMENTS,)) if shared else torch.zeros_like(secret)
        with executor.meter.span("compare"):
            return step(executor.session, secret - noise if executor.rank == SERVER else noise, 32)

    run = parties(body)
    assert torch.equal(run.results[SERVER] + run.results[CLIENT], (secret < 0).long())
    labels = dict.fromkeys(frame.label for frame in run.channels[SERVER].sent)
    arrays = [array for label in labels for array in run.opened(label)]
    return torch.cat(arrays).reshape(-1, ELEMENTS // 8)


def worst(slices: torch.Tensor) -> float:
    """The largest chi-square of any slice, and of the XOR of any two, as a fraction of its limit."""
    pairs = [slices[i] ^ slices[j] for i, j in itertools.combinations(range(len(slices)), 2)]
    return max(chi_square(sample) for sample in (*slices, *pairs)) / chi_square_limit()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("shared", [True, False])
def test_all_slices_are_uniform_and_unrelated(parties: Parties, secret: str, shared: bool) -> None:
    slices = opened(parties, SECRETS[secret], less_than_zero, shared=shared)
    assert len(slices) == 2 * 31 + 27 + 6 + 1
    assert worst(slices) < 1


@pytest.mark.parametrize("name", controls.LEAKY)
def test_a_missing_mask_is_noticed(parties: Parties, name: str) -> None:
    slices = opened(parties, SECRETS["alternating"], controls.LEAKY[name], shared=True)
    assert worst(slices) > 1


@pytest.mark.parametrize("name", controls.WRONG)
def test_wrong_steps_are_noticed(parties: Parties, generator: torch.Generator, name: str) -> None:
    for pair in (every_pair(8, generator), edges(32, generator)):
        [result] = compared(parties, [pair], controls.WRONG[name])
        assert not torch.equal(result, (signed(pair[0] + pair[1], pair[2]) < 0).long())
