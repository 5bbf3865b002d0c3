"""tanh and erf under all suites, within their stated errors of the true functions over the whole domain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from parties.randomness import InsecureTestRandom
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.tanh import PiecewiseErf, PiecewiseTanh
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.line_tanh import TanhOnLines
from protocols.fss.gates.lookup_tanh import TanhLookup
from protocols.fss.operations.cap_protocols import CapFormats, CapProtocol, LinesCap, LookupCap
from protocols.share import Held, Share
from tests.protocols.fss.harness import Secret, run
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share


def gate(*, centred: bool = False) -> TanhLookup:
    return TanhLookup(ring_bits=20, frac_bits=10, index_bits=12, index_frac=8, centred=centred)


@pytest.mark.parametrize("centred", [False, True])
def test_a_look_up_is_within_its_error(centred: bool) -> None:
    index = torch.arange(-2048, 2048)
    y = Clear(Meter()).one(gate(centred=centred), Share(index, 8, 12, Held.MASKED))
    assert (y.frac_bits, y.ring_bits) == (10, 20)
    for offset in (0.0, 0.999) if centred else (-0.999, 0.0, 0.999):  # of what was rounded to the index
        x = (index.double() + offset) / 2**8
        error = float((y.value.double() / 2**10 - torch.tanh(x)).abs().max())
        assert error <= gate(centred=centred).max_abs_error


def test_a_private_look_up_is_the_clear_one_and_costs_what_is_counted() -> None:
    def program(executor: Executor, *inputs: Share) -> tuple[Share, ...]:
        return executor.apply(gate(), *inputs)

    done = run(program, [Secret(torch.arange(-2048, 2048), 8, 12)])
    done.check_bill()
    assert torch.equal(done.secret(), done.clear[0].value)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("protocol", "true"), [(PiecewiseTanh(), torch.tanh), (PiecewiseErf(), torch.erf)], ids=["tanh", "erf"]
)
def test_pieces_are_within_their_error(
    rounding: str, protocol: UnaryProtocol, true: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    edges = torch.tensor([-32750.0, -100.0, -4.0, -2.35, 2.35, 4.0, 100.0, 32750.0])
    x = on_grid(torch.cat([torch.linspace(-8, 8, 20001), edges]))
    executor = clear_executor(ROUNDINGS[rounding])
    y = protocol(executor, share(executor, x))
    found = executor.decode(y.value, y.frac_bits)
    assert float((found - true(x)).abs().max()) <= protocol.max_abs_error


CAPS = [(50.0, 18), (30.0, 17), (3.0, 14), (1000.0, 20), (0.25, 13)]
"""Heights, and bits of scores with 10 fraction bits."""


@pytest.mark.parametrize(("height", "bits"), CAPS)
def test_lines_are_within_their_error_whatever_the_mask(height: float, bits: int) -> None:
    lines = TanhOnLines(ring_bits=40, index_bits=bits, index_frac=10, height=height)
    assert lines.max_abs_error < 2.0**-10
    x = torch.arange(-(1 << (bits - 1)), (1 << (bits - 1)) - (1 << 11))
    for randomness in (None, InsecureTestRandom(3)):  # whose draws are the masks
        y = Clear(Meter(), exact_truncation=False, randomness=randomness).one(
            lines, Share(x, 10, bits, Held.MASKED)
        )
        error = y.value.double() / 2.0**y.frac_bits - height * torch.tanh(x / 2**10 / height)
        assert float(error.abs().max()) <= lines.max_abs_error


@pytest.mark.parametrize("kind", ["tanh", "erf"])
@pytest.mark.parametrize("protocol", [LinesCap(), LookupCap()])
def test_a_norms_function_is_within_its_error_in_a_private_run(protocol: CapProtocol, kind: str) -> None:
    index_frac = protocol.index_frac(10, 5)
    around = CapFormats(
        kind=kind,
        height=1.0,
        index_bits=5 + index_frac,
        index_frac=index_frac,
        ring_bits=30,
        frac_bits=13,
    )
    x = torch.arange(-15 << index_frac, 15 << index_frac, 7)

    def program(executor: Executor, *inputs: Share) -> tuple[Share, ...]:
        return protocol(executor, around, inputs)

    done = run(program, [Secret(x, index_frac, 5 + index_frac)])
    done.check_bill()
    found = done.secret().double() / 2.0 ** done.clear[0].frac_bits
    off = 0.5 if isinstance(protocol, LookupCap) else 0.0  # rounded down
    true = {"tanh": torch.tanh, "erf": torch.erf}[kind]((x + off) / 2.0**index_frac)
    assert float((found - true).abs().max()) <= protocol.max_abs_error(around)
    assert protocol.max_abs_error(around) < 2.0**-7


def test_a_score_whose_cell_would_come_round_is_refused() -> None:
    lines = TanhOnLines(ring_bits=40, index_bits=14, index_frac=10, height=3.0)
    with pytest.raises(RangeError, match="at most 7"):
        Clear(Meter()).one(lines, Share(torch.tensor([2**13 - 1]), 10, 14, Held.MASKED))


def test_what_fits_no_ring_or_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not fit 28 bits"):
        TanhOnLines(ring_bits=28, index_bits=18, index_frac=10, height=50.0)
    with pytest.raises(ConfigError, match="bits of cells"):
        TanhOnLines(ring_bits=40, index_bits=32, index_frac=10, height=50.0)
    with pytest.raises(ConfigError, match="up to 50"):
        TanhLookup(ring_bits=10, frac_bits=10, index_bits=14, index_frac=6, height=50.0)


@pytest.mark.parametrize("protocol", [LinesCap(), LookupCap()])
def test_caps_are_within_their_error_and_cost_what_is_counted(protocol: CapProtocol) -> None:
    index_frac = protocol.index_frac(10, 7)
    around = CapFormats(
        height=20.0, index_bits=7 + index_frac, index_frac=index_frac, ring_bits=18, frac_bits=10
    )
    x = torch.arange(-60 << index_frac, 60 << index_frac, 37)

    def program(executor: Executor, *inputs: Share) -> tuple[Share, ...]:
        halves = [executor.map(inputs[0], lambda v: v[:500]), executor.map(inputs[0], lambda v: v[500:])]
        return (executor.concat(protocol(executor, around, halves), -1),)

    done = run(program, [Secret(x, index_frac, 7 + index_frac)])
    done.check_bill()
    found = done.secret().double() / 2.0 ** done.clear[0].frac_bits
    off = 0.5 if isinstance(protocol, LookupCap) else 0.0  # rounded down
    true = 20.0 * torch.tanh((x + off) / 2.0**index_frac / 20.0)
    assert float((found - true).abs().max()) <= protocol.max_abs_error(around)


def test_a_wide_score_is_read_with_fewer_fraction_bits() -> None:
    assert [LookupCap().index_frac(10, bits) for bits in (8, 14, 20, 25)] == [8, 6, 0, 0]
