"""exp(-z) to first order: a short table times one less the rest."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.exponentials import ExponentialWires, LookupExponential, TangentExponential
from protocols.fss.gate import Shares
from protocols.fss.machine import Machine
from protocols.share import Share
from tests.protocols.fss.harness import Program, Secret, clear, run

TANGENT = TangentExponential()
WIRES = ExponentialWires(ring_bits=26, frac_bits=13, index_bits=15, index_frac=11, low=-2.0, centred=False)
LEAST = -2 << WIRES.index_frac


def program(wires: ExponentialWires) -> Program:
    def apply(machine: Machine, index: Share) -> Shares:
        return (TANGENT(machine, wires, index),)

    return apply


def indices(wires: ExponentialWires) -> torch.Tensor:
    """All of them, from the least on."""
    return torch.arange(int(wires.low * 2.0**wires.index_frac), 1 << (wires.index_bits - 1))


def relative_error(value: torch.Tensor, scale: int, z: torch.Tensor) -> torch.Tensor:
    """Beyond rounding of the table: half a unit times a factor of at most 1 + u."""
    exact = torch.exp(-z)
    rounding = 2.0 ** -(WIRES.frac_bits + 1) * (1.0 + 2.0**-TANGENT.CELL_FRAC)
    return ((value.double() / 2.0**scale - exact).abs() - rounding) / exact


@pytest.mark.parametrize("mask", [0, 1, 31, 32, 63, 12_345, (1 << 15) - 1, None])
def test_error_over_all_indices(mask: int | None) -> None:
    """A mask's low bits say how far each index is from its cell."""
    index = indices(WIRES)
    masks = None if mask is None else torch.full_like(index, mask)
    done = run(program(WIRES), [Secret(index, 11, 15, mask=masks)])
    scale = done.client[0].frac_bits
    assert (scale, done.client[0].ring_bits) == (13 + 11, 26 + 11)
    # The index is right here: what it was rounded by is the other part of the stated error.
    own = TANGENT.max_rel_error(WIRES) - float(torch.expm1(torch.tensor(2.0**-11, dtype=torch.float64)))
    worst = float(relative_error(done.secret(), scale, index.double() / 2.0**11).max())
    assert worst <= own
    if mask is None:
        assert worst > own / 4, "the bound is far from what happens"


def test_it_costs_less_than_a_look_up_of_the_same_index() -> None:
    index = Secret(torch.zeros(64, dtype=torch.int64), 11, 15)
    done = run(program(WIRES), [index])
    done.check_bill()
    assert done.counted.rounds == 1
    # exp(2 + 1/32) at 13 fraction bits has 16 bits, and there are 2 more.
    assert [bits for _, bits, _ in done.opened()] == [18]
    # 9 bits of index: 3 blocks; 6 shared elements of 37 bits.
    assert done.counted.offline_bytes_to_client == 64 * 16 * 3
    assert done.counted.offline_bytes_to_server == 64 * 16 * 3 + 6 * 64 * 37 // 8
    whole = run(lambda m, x: (LookupExponential()(m, WIRES, x),), [index])
    assert whole.counted.offline_bytes_to_client == 64 * 16 * 9


def test_below_its_window_the_reference_refuses() -> None:
    with pytest.raises(RangeError, match="at least -2"):
        clear(program(WIRES), [Secret(torch.tensor([LEAST - 65]), 11, 15)])


def test_an_index_with_few_bits_is_the_table_itself() -> None:
    wires = dataclasses.replace(WIRES, index_frac=4, index_bits=8)
    index = indices(wires)
    done = run(program(wires), [Secret(index, 4, 8)])
    table = LookupExponential()
    (looked_up,) = clear(lambda m, x: (table(m, wires, x),), [Secret(index, 4, 8)])
    assert torch.equal(done.secret(), looked_up.value << 4)
