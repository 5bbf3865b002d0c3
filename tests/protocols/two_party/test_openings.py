"""What is opened online is uniform whatever the secrets are, and no mask serves twice; twins that are not so.

Runs on correlations of an ideal functionality are seeded. Those that the parties make themselves are drawn
from the system's generator, and fail by chance less than once in 10^6 runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import InsecureTestRandom
from protocols.arithmetic.shapes import Shape
from protocols.share import Share
from protocols.two_party import comparison
from protocols.two_party.correlations import Correlations, Kind, Parts, Request
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.lines import LineGelu
from protocols.two_party.source import TwoPartySource
from tests.openings import listed
from tests.protocols.two_party.ideal import IdealCorrelations
from tests.protocols.two_party.transcripts import SUITE, Opening, Transcript, transcript

RING, NARROW, FRAC, SIDE = 48, 45, 16, 64
_CELL_BITS = 8
OFFLINE = ("base.", "ot.", "rlwe.")
SECRETS = {
    "zeros": torch.zeros(SIDE, SIDE, dtype=torch.float64),
    "ones": torch.ones(SIDE, SIDE, dtype=torch.float64),
    "negative": torch.full((SIDE, SIDE), -30.0, dtype=torch.float64),
    "ramp": torch.linspace(-25, 25, SIDE * SIDE, dtype=torch.float64).reshape(SIDE, SIDE),
}
OWNERS = {"the client's": CLIENT, "the server's": SERVER}


def ideal(link: Link) -> Correlations:
    assert link.rank is not None
    return IdealCorrelations(link.rank, seed=7)


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own random bits in comparisons, the same in every run."""
    own = InsecureTestRandom(3)
    monkeypatch.setattr(comparison, "SystemRandom", lambda: own)


def every_primitive(value: torch.Tensor, owner: int) -> Callable[[TwoPartyArithmetic], torch.Tensor]:
    """Each opening of a secret that one party brings: its share is the secret, the other's is zero."""

    def body(executor: TwoPartyArithmetic) -> torch.Tensor:
        x = executor.share_from(owner, value if executor.rank == owner else None, value.shape)
        weight = executor.weight("w", value / 32 if executor.rank == SERVER else None, value.shape)
        executor.linear(x, weight)
        executor.linear(x, weight, transposed=True)
        executor.truncate(x, FRAC - 8)
        executor.select(x, executor.less_than_zero(x, 64.0))
        LineGelu().within(64.0)(executor, x)
        executor.matmul(x, x)
        attention(executor, x)
        executor.mul(x, x)
        executor.square(x)
        with executor.within(1024.0):
            executor.mul(x, x)
            executor.square(x)
        executor.open_to(CLIENT, executor.mul(x, x))
        return x.value

    return body


def attention(executor: TwoPartyArithmetic, x: Share) -> None:
    """A secret [n, n] as queries, keys and values of n tokens, and as weights where they may not be zero."""
    heads = executor.rearrange(x, lambda value: value[None])
    queries, keys, values = executor.attention_factors("layer", heads, heads, heads, 0, (RING, RING))
    scores = executor.matmul(queries, executor.rearrange(keys, lambda value: value.transpose(-1, -2)))
    assert scores.shape == heads.shape
    executor.matmul(executor.rearrange(heads, torch.tril), values)


def run(secret: str, owner: int = CLIENT, make: Callable[[Link], Correlations] = ideal) -> Transcript:
    return transcript(every_primitive(SECRETS[secret], owner), make, RING, FRAC)


def limit(cells: int) -> float:
    """What uniform samples exceed with probability 1e-9 (Wilson and Hilferty's approximation)."""
    spread = 2 / (9 * (cells - 1))
    return (cells - 1) * (1 - spread + 5.9978 * spread**0.5) ** 3


def chi_square(values: torch.Tensor, bits: int) -> float:
    """The largest of all bytes of ring elements, as a fraction of its limit."""
    found = list[float]()
    for low in range(0, bits, _CELL_BITS):
        cells = 1 << min(_CELL_BITS, bits - low)
        counts = torch.bincount((values >> low) & (cells - 1), minlength=cells).double()
        expected = values.numel() / cells
        found.append(float(((counts - expected) ** 2 / expected).sum()) / limit(cells))
    return max(found)


def views(opening: Opening) -> list[torch.Tensor]:
    """As it is opened, and less either party's own summand of the mask: what the other hides it by."""
    without = [opening.seen + own for own in opening.own if own is not None]
    return [opening.seen, *(each & ((1 << opening.bits) - 1) for each in without)]


def worst(openings: list[Opening]) -> tuple[float, str]:
    return max((chi_square(view, each.bits), each.what) for each in openings for view in views(each))


def without_output(made: Transcript) -> list[Opening]:
    return [each for each in made.openings() if each.why != "output"]


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("secret", SECRETS)
def test_what_is_opened_is_uniform_whatever_the_secret_is(secret: str, owner: str) -> None:
    openings = without_output(run(secret, OWNERS[owner]))
    assert worst(openings)[0] < 1, worst(openings)
    online = {why for why in listed(SUITE) if not why.startswith(OFFLINE)}
    assert {each.why for each in openings} == online - {"output"}
    assert {each.bits for each in openings if each.why in {"product", "square"}} >= {RING, NARROW}


@pytest.mark.parametrize("secret", ["negative", pytest.param("ramp", marks=pytest.mark.long)])
def test_so_it_is_under_correlations_that_the_parties_made(secret: str) -> None:
    openings = without_output(run(secret, make=TwoPartySource))
    assert worst(openings)[0] < 1, worst(openings)


def test_messages_do_not_depend_on_secrets() -> None:
    shapes = [
        [[(frame.label, frame.specs, frame.depth) for frame in side] for side in run(secret).received]
        for secret in ("zeros", "ramp")
    ]
    assert shapes[0] == shapes[1]


def reopened(make: Callable[[Link], Correlations]) -> int:
    """How many elements look the same where a secret is opened again under masks of the same kind."""

    def body(executor: TwoPartyArithmetic) -> torch.Tensor:
        value = SECRETS["ramp"]
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        weight = executor.weight("w", value / 32 if executor.rank == SERVER else None, value.shape)
        for _ in range(2):
            executor.linear(x, weight)
            executor.mul(x, x)
            executor.square(x)
            executor.matmul(x, x)
            attention(executor, x)
        return x.value

    seen: dict[int, list[torch.Tensor]] = {}
    for each in transcript(body, make, RING, FRAC).openings():
        if each.bits == RING:
            seen.setdefault(each.seen.numel(), []).append(each.seen)
    return sum(
        int((first == second).sum())
        for same in seen.values()
        for place, first in enumerate(same)
        for second in same[:place]
    )


def test_no_mask_is_used_twice() -> None:
    """Of 270,000 pairs of elements of 48 bits none agree, those of both factors of a product included."""
    assert reopened(ideal) == 0


def indices_that_agree(make: Callable[[Link], Correlations]) -> float:
    """Which part of the opened indices looks the same where numbers are looked up again."""

    def body(executor: TwoPartyArithmetic) -> torch.Tensor:
        value = SECRETS["ramp"]
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        for _ in range(2):
            LineGelu().within(64.0)(executor, x)
        return x.value

    made = transcript(body, make, RING, FRAC).openings()
    first, second = (each.seen for each in made if each.why == "place")
    return float((first == second).double().mean())


def test_no_index_of_a_look_up_is_used_twice() -> None:
    """Of 4,096 indices of ten bits or so, few agree."""
    assert indices_that_agree(ideal) < 0.05


# -- broken twins --------------------------------------------------------------------------------------------


class Twin(IdealCorrelations):
    """Right results, and a weakness of one kind."""

    @classmethod
    def make(cls, link: Link) -> Correlations:
        assert link.rank is not None
        return cls(link.rank, seed=7)


class Reusing(Twin):
    """Correlations serve a second time for the same request."""

    def __init__(self, rank: int, seed: int) -> None:
        super().__init__(rank, seed)
        self._before: dict[Request, Parts] = {}

    def take(self, request: Request) -> Parts:
        if request not in self._before:
            self._before[request] = super().take(request)
        return tuple(part.clone() for part in self._before[request])


class Narrow(Twin):
    """Numbers that hide others have eight bits less than the ring; shares of them are uniform."""

    def _words(self, shape: Shape, bits: int = 64) -> torch.Tensor:
        value = super()._words(shape, bits)
        return value & ((1 << (RING - 8)) - 1) if bits == 64 and self.narrow else value

    narrow = True

    def _share(self, value: torch.Tensor) -> torch.Tensor:
        self.narrow = False
        share = super()._share(value)
        self.narrow = True
        return share


class WithoutWrap(Twin):
    """Truncation's bits are sent as they are: the random ones are zero."""

    def take(self, request: Request) -> Parts:
        parts = super().take(request)
        if request.kind is not Kind.WRAP:
            return parts
        shared = self._share(torch.zeros_like(parts[1]))
        return torch.zeros_like(parts[0]), shared


class FixedPlaces(Twin):
    """The client always knows the first entry of a table, and so tells its digits."""

    def _digit(self, count: int) -> Parts:
        server = self._rank == SERVER
        self._rank = SERVER
        (tables,) = super()._digit(count)
        if server:
            return (tables,)
        self._rank = CLIENT
        return torch.zeros(count, dtype=torch.uint8), (tables & 3).to(torch.uint8)


class KnownIndex(Twin):
    """Look-ups always take the index 0, which so hides nothing."""

    def _place(self, request: Request) -> Parts:
        words, self._words = self._words, lambda shape, bits=64: torch.zeros(shape, dtype=torch.int64)
        parts = super()._place(request)
        self._words = words
        return parts


class KnownTransfers(Twin):
    """Masks of transfers are zero, and so are choices: those hide shares of bits, uniform by themselves."""

    def _transfer(self, count: int) -> Parts:
        words, self._words = self._words, lambda shape, bits=64: torch.zeros(shape, dtype=torch.int64)
        parts = super()._transfer(count)
        self._words = words
        return parts


class Zeros:
    """In place of a party's own randomness."""

    def uint8(self, shape: tuple[int, ...]) -> Any:
        return np.zeros(shape, np.uint8)


def caught(make: Callable[[Link], Correlations]) -> set[str]:
    """Reasons for which what is opened is not uniform, for some secret."""
    found = set[str]()
    for secret in SECRETS:
        made = run(secret, make=make)
        (product,) = (each for each in made.openings() if each.why == "output")
        del product
        found |= {
            each.why
            for each in without_output(made)
            if any(chi_square(v, each.bits) > 1 for v in views(each))
        }
    return found


def results_are_right(make: Callable[[Link], Correlations]) -> bool:
    """A twin that computes something else would be noticed anyway."""
    value = SECRETS["ramp"]

    def body(executor: TwoPartyArithmetic) -> torch.Tensor:
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        bit = executor.less_than_zero(x, 64.0)
        product = executor.mul(executor.select(x, bit), x)
        opened = executor.open_to(CLIENT, product)
        return torch.zeros(()) if opened is None else opened

    right = value * value * (value < 0)
    return bool((transcript(body, make, RING, FRAC).results[CLIENT] - right).abs().max() < 1e-3)


def test_a_mask_that_is_used_twice_is_noticed() -> None:
    assert results_are_right(Reusing.make)
    assert reopened(Reusing.make) > 0
    assert indices_that_agree(Reusing.make) == 1


def test_a_mask_that_is_too_narrow_is_noticed() -> None:
    assert results_are_right(Narrow.make)
    assert caught(Narrow.make) == {"product", "square", "matmul", "kept", "mixed", "select", "linear"}


def test_truncation_without_a_mask_of_the_wrap_is_noticed() -> None:
    assert results_are_right(WithoutWrap.make)
    assert caught(WithoutWrap.make) == {"truncate"}


def test_a_digit_asked_for_at_a_known_place_is_noticed() -> None:
    assert results_are_right(FixedPlaces.make)
    assert caught(FixedPlaces.make) == {"digits"}


def test_a_table_of_digits_without_the_servers_random_bits_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "SystemRandom", Zeros)
    assert results_are_right(ideal)
    assert caught(ideal) == {"digits"}


def test_a_look_up_under_a_known_index_is_noticed() -> None:
    assert results_are_right(KnownIndex.make)
    assert caught(KnownIndex.make) == {"place"}


def test_transfers_without_masks_are_noticed() -> None:
    assert results_are_right(KnownTransfers.make)
    assert caught(KnownTransfers.make) == {"chosen"}
