"""Functions as lines: their errors, whichever piece shares find, and on shares with every carry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from parties.errors import RangeError
from parties.meter import CLIENT, Meter
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.arithmetic.lines import Lines
from protocols.arithmetic.operation import UnaryProtocol
from protocols.share import Share
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.lines import MOST, LineExponential, LineGelu, LineSilu, LineSoftmax
from protocols.two_party.octaves import WIDEST, LineInverseSqrt, LineReciprocal, tables_of
from tests.protocols.two_party.test_executor import run

UNIT = 2.0**-16
Function = Callable[[torch.Tensor], torch.Tensor]
ACTIVATIONS: list[tuple[UnaryProtocol, Function]] = [
    (LineGelu(), torch.nn.functional.gelu),
    (LineGelu(6.0), torch.nn.functional.gelu),
    (LineSilu(), torch.nn.functional.silu),
    (LineSilu(500.0), torch.nn.functional.silu),
    (LineExponential(), torch.exp),
]
NAMES = ["gelu", "gelu-6", "silu", "silu-500", "exp"]


class TakesTheTablesDown(IdealCleartextArithmetic):
    """Remembers tables in place of looking them up."""

    def __init__(self) -> None:
        super().__init__(Meter(timed=False))
        self.tables: tuple[Lines, ...] = ()

    def lines(self, x: Share, *tables: Lines) -> Share:
        self.tables = tables
        return x


def tables_in(call: Callable[[Arithmetic, Share], Share]) -> tuple[Lines, ...]:
    executor = TakesTheTablesDown()
    call(executor, Share(torch.zeros(1, dtype=torch.int64), 16))
    return executor.tables


def numbers(low: float, high: float) -> torch.Tensor:
    """Elements of both ends, of edges, and in between."""
    inner = torch.linspace(max(low, -17.0), min(high, 17.0), 200_001, dtype=torch.float64)
    x = torch.cat([torch.linspace(low, high, 20_001, dtype=torch.float64), inner])
    return torch.round(x * 2.0**16).long()


@pytest.mark.parametrize(("protocol", "function"), ACTIVATIONS, ids=NAMES)
def test_lines_hold_on_their_piece_and_on_the_next(protocol: UnaryProtocol, function: Function) -> None:
    (table,) = tables_in(protocol)
    x = numbers(*protocol.domain)
    low, high = table.domain
    assert low <= protocol.domain[0] < protocol.domain[1] < high
    for before in (False, True):
        y = table.exact(x, 16, before=before).double() * 2.0 ** -(16 + table.slope_bits)
        error = (y - function(x.double() * UNIT)).abs().max()
        assert error <= protocol.max_abs_error - UNIT
        assert error > protocol.max_abs_error / 2 or protocol.domain[1] < 7


@pytest.mark.parametrize(("protocol", "function"), ACTIVATIONS, ids=NAMES)
def test_error_on_shares(protocol: UnaryProtocol, function: Function) -> None:
    x = numbers(*protocol.domain)[::37]
    other = torch.randint(-(2**62), 2**62, x.shape, generator=torch.Generator().manual_seed(2))

    def body(executor: TwoPartyArithmetic) -> torch.Tensor | None:
        own = other if executor.rank == CLIENT else x - other
        return executor.open_to(CLIENT, protocol(executor, Share(own, 16)))

    got, _ = run(body)
    assert (got - function(x.double() * UNIT)).abs().max() <= protocol.max_abs_error


RANGES = [(0.125, 128.0), (2.0, 2000.0), (3.0, 4.0), (0.004, 1.0)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_tables_that_fade_into_each_other_add_up(low: float, high: float) -> None:
    """Whichever of two indices each of them finds."""
    root, reciprocal = LineInverseSqrt(low, high), LineReciprocal(low, high)
    x = torch.round(low * (high / low) ** torch.linspace(0, 1, 20_001, dtype=torch.float64) * 2.0**16).long()
    x = x.clamp(math.ceil(low * 2**16), math.floor(high * 2**16))
    for call, power, scale, stated in (
        (root, -0.5, 1.0, root.max_rel_error),
        (reciprocal.scaled, -1.0, 2.0**reciprocal.scale_bits, reciprocal.max_rel_error),
    ):
        tables = tables_in(call)
        both = [[table.exact(x, 16, before=before) for before in (False, True)] for table in tables]
        worst = 0.0
        for chosen in itertools.product((0, 1), repeat=len(tables)):
            total = sum((pair[i] for pair, i in zip(both, chosen, strict=True)), torch.zeros_like(x))
            y = total.double() * 2.0 ** -(16 + tables[0].slope_bits)
            worst = max(worst, float((y / (scale * (x.double() * UNIT) ** power) - 1.0).abs().max()))
        assert worst <= stated


def test_softmax_with_one_score_far_above_others() -> None:
    """On many keys, whose small exponentials must not add up to something."""
    generator = torch.Generator().manual_seed(4)
    scores = 2.0 * torch.randn((1, 1, 4, 200), generator=generator, dtype=torch.float64)
    scores[..., 0, 3] = 9.0
    scores[..., 1, 5] = 300.0

    def body(executor: TwoPartyArithmetic) -> torch.Tensor | None:
        x = executor.share_from(CLIENT, scores if executor.rank == CLIENT else None, scores.shape)
        return executor.open_to(CLIENT, LineSoftmax()(executor, x, 196))

    got, _ = run(body)
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(197)
    right = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    assert (got - right).abs().max() <= LineSoftmax.max_abs_error
    assert not got[hidden.expand(got.shape)].any()


def test_positive_parts_of_any_shares() -> None:
    """0 below zero but for what the tolerance lets pass, and the number itself above it."""
    x = torch.cat([torch.arange(-70_000, 70_000, 13), torch.tensor([0, 1, -1, 16 << 16, -(16 << 16)])])
    other = torch.randint(-(2**62), 2**62, x.shape, generator=torch.Generator().manual_seed(2))

    def body(executor: TwoPartyArithmetic) -> torch.Tensor | None:
        own = other if executor.rank == CLIENT else x - other
        return executor.open_to(CLIENT, executor.positive_part(Share(own, 16), 16.0, 2.0**-6))

    got, _ = run(body)
    value = x.double() * UNIT
    assert torch.equal(got[value < 0], torch.zeros_like(got[value < 0]))
    assert torch.equal(got[value >= 2.0**-6], value[value >= 2.0**-6])
    assert (got - value.relu()).abs().max() <= 2.0**-6


def test_what_tables_do_not_hold_is_refused() -> None:
    with pytest.raises(RangeError, match="take the protocol `piecewise`"):
        LineGelu(2 * MOST)
    with pytest.raises(RangeError, match="needs 0 < low"):
        tables_of(lambda x: 1 / x, lambda x: -1 / x**2, 1.0, 2 * WIDEST)
    executor = IdealCleartextArithmetic(Meter(timed=False))
    with pytest.raises(RangeError, match="apart"):
        LineGelu(8.0)(executor, Share(torch.tensor([200 << 16]), 16))
