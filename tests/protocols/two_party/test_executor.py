"""The executor of two parties: exact on every kind of correlation, counted as measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from parties.bill import Bill
from parties.errors import RangeError
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.threads import run_two_threads
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.gelu import PiecewiseGelu
from protocols.arithmetic.softmax import TreeSoftmax
from protocols.share import Share
from protocols.two_party.correlations import Correlations, Kind, Parts, Request
from protocols.two_party.costs import SourceCosts
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.lines import LineGelu, LineSilu, LineSoftmax
from protocols.two_party.octaves import LineInverseSqrt
from protocols.two_party.source import TwoPartySource
from tests.protocols.two_party.ideal import IdealCorrelations

RING, FRAC = 48, 16
Make = Callable[[Link], Correlations]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def ideal(link: Link) -> Correlations:
    assert link.rank is not None
    return IdealCorrelations(link.rank, seed=7)


def run(
    body: Callable[[TwoPartyArithmetic], torch.Tensor | None], make: Make = ideal, ring_bits: int = RING
) -> tuple[torch.Tensor, Bill]:
    """What the client gets, and its bill."""

    def party(link: Link) -> tuple[torch.Tensor | None, Bill]:
        return body(TwoPartyArithmetic(link, make(link), ring_bits, FRAC)), link.meter.bill()

    _, (result, bill) = run_two_threads(party, party)
    assert result is not None
    return result, bill


def of_shares(
    step: Callable[[TwoPartyArithmetic, Share], Share], server: torch.Tensor, client: torch.Tensor, ring: int
) -> torch.Tensor:
    """A step on given shares with 4 fraction bits, and the ring element that comes out, signed."""

    def party(link: Link) -> torch.Tensor:
        executor = TwoPartyArithmetic(link, ideal(link), ring, 4)
        return step(executor, Share((server, client)[executor.rank].clone(), 4)).value

    first, second = run_two_threads(party, party)
    return signed(first + second, ring)


def signed(value: torch.Tensor, bits: int) -> torch.Tensor:
    return (value << (64 - bits)) >> (64 - bits)


def every_pair(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    low = torch.arange(1 << bits)
    return low.repeat_interleave(1 << bits), low.repeat(1 << bits)


@pytest.mark.parametrize("bits", [2, 3, 5, 6, 8])
def test_signs_of_every_pair_of_shares(bits: int) -> None:
    server, client = every_pair(bits)
    got = of_shares(lambda executor, x: executor.less_than_zero(x), server, client, bits)
    assert torch.equal(got & 1, (signed(server + client, bits) < 0).long())


@pytest.mark.parametrize("drop", [1, 3])
def test_truncation_of_every_pair_of_shares(drop: int) -> None:
    """Rounded down, or a unit more, for every number below a quarter of the ring."""
    server, client = every_pair(8)
    x = signed(server + client, 8)
    fitting = x.abs() < 1 << 6
    got = of_shares(lambda executor, a: executor.truncate(a, 4 - drop), server, client, 8)
    off = (got - (x >> drop))[fitting]
    assert set(off.tolist()) == {0, 1}


@pytest.mark.parametrize("narrow", [20, 30])
def test_truncation_from_a_narrower_ring(narrow: int) -> None:
    x = torch.arange(-1000, 1000) * 17
    own = torch.randint(0, 1 << narrow, x.shape)

    def party(link: Link) -> torch.Tensor:
        executor = TwoPartyArithmetic(link, ideal(link), 40, 4)
        value = own if executor.rank == SERVER else (x - own) & ((1 << narrow) - 1)
        return executor.truncate(Share(value, 8, narrow), 4).value

    first, second = run_two_threads(party, party)
    assert set((signed(first + second, 40) - (x >> 4)).tolist()) <= {0, 1}


def steps(executor: Arithmetic, x: Share, y: Share) -> list[Share]:
    """Every primitive and two compositions."""
    bit = executor.less_than_zero(x, 16.0)
    with executor.within(64.0):
        narrow = [executor.square(x), executor.mul(x, y)]
    return [
        bit,
        executor.select(y, bit),
        *narrow,
        executor.mul(x, y),
        executor.matmul(x, executor.rearrange(y, lambda value: value.transpose(-1, -2))),
        executor.mul_public(x, 0.37),
        PiecewiseGelu()(executor, x),
        TreeSoftmax()(executor, x, 0),
        LineGelu()(executor, x),
        LineSilu()(executor, x),
        LineSoftmax()(executor, x, 0),
        LineInverseSqrt(0.25, 200.0)(executor, executor.add_public(executor.square(x), 0.25)),
        executor.positive_part(x, 16.0, 2.0**-8),
    ]


def expected(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    hidden = torch.ones(x.shape[-2:], dtype=torch.bool).triu(1)
    negative = (x < 0).double()
    return [
        negative,
        y * negative,
        x * x,
        x * y,
        x * y,
        x @ y.transpose(-1, -2),
        0.37 * x,
        torch.nn.functional.gelu(x),
        x.masked_fill(hidden, float("-inf")).softmax(-1),
        torch.nn.functional.gelu(x),
        torch.nn.functional.silu(x),
        x.masked_fill(hidden, float("-inf")).softmax(-1),
        (x * x + 0.25).rsqrt(),
        x.relu(),
    ]


TOLERANCES = [0.0, 2e-5, 3e-4, 3e-4, 3e-4, 6e-4, 3e-5, 2.8e-3, 2.6e-3, 1.7e-3, 3.3e-3, 2.6e-3, 6e-4, 4e-3]


@pytest.mark.parametrize("make", [ideal, TwoPartySource], ids=["ideal", "made by the parties"])
def test_primitives_and_compositions(make: Make, generator: torch.Generator) -> None:
    shape = (1, 2, 5, 5)
    x, y = (3.0 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))

    def body(executor: TwoPartyArithmetic) -> torch.Tensor | None:
        client = executor.rank == CLIENT
        a, b = (executor.share_from(CLIENT, value if client else None, shape) for value in (x, y))
        opened = [executor.open_to(CLIENT, share) for share in steps(executor, a, b)]
        return torch.stack([value for value in opened if value is not None]) if client else None

    got, _ = run(body, make)
    for value, right, tolerance in zip(got, expected(x, y), TOLERANCES, strict=True):
        assert (value - right).abs().max() <= tolerance


@pytest.mark.parametrize("transposed", [False, True])
def test_linear_layers_with_weights_of_the_servers(transposed: bool, generator: torch.Generator) -> None:
    weight = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    x = torch.randn(1, 3, 10 if transposed else 6, generator=generator, dtype=torch.float64)
    bias = torch.randn(6 if transposed else 10, generator=generator, dtype=torch.float64)

    def body(executor: TwoPartyArithmetic) -> torch.Tensor | None:
        server = executor.rank == SERVER
        held = executor.weight("w", weight if server else None, weight.shape)
        shift = executor.share_from(SERVER, bias if server else None, bias.shape)
        a = executor.share_from(CLIENT, None if server else x, x.shape)
        with executor.within(64.0):
            y = executor.linear(a, held, transposed=transposed, bias=shift)
        return executor.open_to(CLIENT, y)

    matrix = weight.T if transposed else weight
    for make in (ideal, TwoPartySource):
        got, _ = run(body, make)
        assert (got - (x @ matrix + bias)).abs().max() < 1e-3


def test_what_is_counted_is_what_is_measured() -> None:
    """Label by label: rounds, bytes each way, online and offline."""
    shape = (1, 2, 6, 6)

    def program(executor: Arithmetic) -> None:
        x, y = (executor.share_from(CLIENT, zeros(executor), shape) for _ in range(2))
        held = executor.weight("w", weights(executor), (6, 4))
        steps(executor, x, y)
        for _ in range(3):
            executor.linear(x, held)

    def zeros(executor: Arithmetic) -> torch.Tensor | None:
        return torch.zeros(shape, dtype=torch.float64) if executor.rank == CLIENT else None

    def weights(executor: Arithmetic) -> torch.Tensor | None:
        return torch.zeros(6, 4, dtype=torch.float64) if executor.rank == SERVER else None

    counting = CountingArithmetic(Meter(timed=False), RING, FRAC)
    program(counting)
    requests = list(counting.requests)
    counting.settle()

    def party(link: Link) -> Bill:
        source = TwoPartySource(link)
        source.announce(requests)
        program(TwoPartyArithmetic(link, source, RING, FRAC))
        return link.meter.bill()

    for measured in run_two_threads(party, party):
        assert rows(measured) == rows(counting.meter.bill())


def rows(bill: Bill) -> dict[str, tuple[int, ...]]:
    return {
        row.label: figures
        for row in bill.rows
        if any(
            figures := (
                row.rounds,
                row.online_bytes_to_server,
                row.online_bytes_to_client,
                row.offline_bytes_to_server,
                row.offline_bytes_to_client,
            )
        )
    }


def test_rows_made_ahead_are_used_once_each_and_in_order() -> None:
    """Three uses of a layer with 12 rows each: 32 rows are made, two uses fit, the third makes new ones."""
    request = Request(Kind.LINEAR, ((12, 8), (8, 4)), RING, "w")
    weight = torch.arange(-16, 16).reshape(8, 4)

    def party(link: Link) -> list[Parts]:
        source = TwoPartySource(link)
        source.hold("w", weight if link.rank == SERVER else None, (8, 4))
        source.announce([request] * 3)
        return [source.take(request) for _ in range(3)]

    server, client = run_two_threads(party, party)
    for (own,), (mask, share) in zip(server, client, strict=True):
        assert torch.equal((own + share - mask @ weight) << (64 - RING), torch.zeros_like(share))
    masks = torch.cat([mask for mask, _ in client])
    assert len(torch.unique(masks, dim=0)) == 36
    meter = Meter(timed=False)
    SourceCosts(meter).charge([request] * 3)
    made = [row for row in meter.bill().rows if row.label == "correlations.linear"]
    once = Meter(timed=False)
    SourceCosts(once).charge([request] * 2)
    (less,) = [row for row in once.bill().rows if row.label == "correlations.linear"]
    assert 0 < less.offline_bytes_to_client < made[0].offline_bytes_to_client


def test_tables_of_comparisons_take_four_bytes_a_digit() -> None:
    """At the server, for sixteen entries of two bits; the client has one of them, and its place."""
    request = Request(Kind.DIGIT, ((40,),), 2)

    def party(link: Link) -> Parts:
        source = TwoPartySource(link)
        source.announce([request])
        return source.take(request)

    (tables,), (places, entries) = run_two_threads(party, party)
    assert (tables.dtype, tables.shape) == (torch.int32, (40,))
    words = tables.to(torch.int64) & 0xFFFFFFFF
    assert torch.equal((words >> 2 * places.to(torch.int64)) & 3, entries.to(torch.int64))


def test_a_weight_that_cannot_be_multiplied_is_refused_before_a_pass() -> None:
    def party(link: Link) -> None:
        executor = TwoPartyArithmetic(link, TwoPartySource(link), RING, FRAC)
        value = torch.full((4, 4), 3.0) if executor.rank == SERVER else None
        executor.weight("layer0.ffn.in.weight", value, (4, 4))

    with pytest.raises(RangeError, match=r"layer0\.ffn\.in\.weight: entries of root mean square 3"):
        run_two_threads(party, party)
