"""tanh under both suites, within its stated error of the true function over its whole domain."""

from __future__ import annotations

import pytest
import torch

from parties.meter import Meter
from protocols.arithmetic.tanh import PiecewiseTanh
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.lookup_tanh import TanhLookup
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
def test_pieces_are_within_their_error(rounding: str) -> None:
    edges = torch.tensor([-32750.0, -100.0, -4.0, 4.0, 100.0, 32750.0])
    x = on_grid(torch.cat([torch.linspace(-8, 8, 20001), edges]))
    executor = clear_executor(ROUNDINGS[rounding])
    y = PiecewiseTanh()(executor, share(executor, x))
    found = executor.decode(y.value, y.frac_bits)
    assert float((found - torch.tanh(x)).abs().max()) <= PiecewiseTanh.max_abs_error
