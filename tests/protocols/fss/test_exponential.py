"""exp(-z) of a masked index."""

from __future__ import annotations

import pytest
import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.share import Share
from tests.protocols.fss.harness import Program, Run, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform


def small(*, centred: bool = False, frac_bits: int = 6) -> Exponential:
    """8 bits of index, 3 of them a fraction: z from -16 to 15.875."""
    return Exponential(
        ring_bits=20, frac_bits=frac_bits, index_bits=8, index_frac=3, low=-2.0, centred=centred
    )


def program(gate: Exponential) -> Program:
    def apply(executor: Executor, index: Share) -> Shares:
        return executor.apply(gate, index)

    return apply


def privately(gate: Exponential, index: torch.Tensor, mask: torch.Tensor | None = None) -> Run:
    return run(program(gate), [Secret(index, 3, 8, mask=mask)])


@pytest.mark.parametrize("centred", [False, True])
def test_every_index_and_mask(centred: bool) -> None:
    grid = torch.cartesian_prod(torch.arange(-16, 128), torch.arange(256))
    done = privately(small(centred=centred), grid[:, 0], grid[:, 1])
    done.check_bill()
    assert torch.equal(done.secret(), done.clear[0].value)


def test_where_it_rounds_to_zero_it_is_zero() -> None:
    # exp(-z) < 2^-7 from 4.86 on.
    index = torch.arange(39, 128)
    assert not privately(small(), index).secret().any()
    assert privately(small(), torch.tensor([38])).secret().tolist() == [1]


def test_below_its_window_it_is_zero_and_the_reference_refuses() -> None:
    gate = small()
    index = torch.tensor([-17])
    with pytest.raises(RangeError, match=r"z = -2.125, at least -2"):
        clear(program(gate), [Secret(index, 3, 8)])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("index_frac", "frac_bits"), [(3, 6), (7, 13), (8, 10)])
def test_error(centred: bool, index_frac: int, frac_bits: int) -> None:
    """Over a grid of z sixteen times finer than the index, for every index that z may be rounded to."""
    gate = Exponential(
        ring_bits=30,
        frac_bits=frac_bits,
        index_bits=index_frac + 5,
        index_frac=index_frac,
        low=-2.5,
        centred=centred,
    )
    fine = torch.arange(-2 * 16 << index_frac, 15 * 16 << index_frac)
    exact = torch.exp(-fine.double() / (16 << index_frac))
    largest = 0.0
    up = -((-fine) >> 4)
    for index in (up,) if centred else (up, fine >> 4):
        (result,) = clear(program(gate), [Secret(index, index_frac, index_frac + 5)])
        error = (result.value.double() / 2.0**frac_bits - exact).abs()
        bound = exact * gate.max_relative_error + gate.max_rounding_error
        assert bool((error <= bound).all())
        largest = max(largest, float((error / bound).max()))
    assert largest > 0.9, "the bound is far from what happens"


def test_what_it_opens_and_what_it_takes() -> None:
    done = privately(small(), torch.zeros(800, dtype=torch.int64))
    # exp(2) at 6 fraction bits is 473: 9 bits and 2 more.
    assert [(label, bits) for label, bits, _ in done.opened()] == [("other/exponential", 11)]
    assert done.counted.rounds == 1
    assert done.counted.online_bytes_to_client == 1100
    # A truth table of 256 bits; of three shares one lacks V's bits.
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 800 * 32 + 100 * (3 * 20 - 11)


@pytest.mark.parametrize("secret", [-16, 0, 100])
def test_what_is_opened_is_uniform(secret: int) -> None:
    for _, bits, value in privately(small(), torch.full((6000,), secret)).opened():
        assert_uniform(value, bits)


def test_softmax_size() -> None:
    """Index and table as the plans have them, over all of the index's ring from the least z on."""
    gate = Exponential(ring_bits=26, frac_bits=10, index_bits=15, index_frac=8, low=-2.0 - 2.0**-7)
    index = torch.arange(-514, 1 << 14)
    done = run(program(gate), [Secret(index, 8, 15)])
    done.check_bill()
    assert torch.equal(done.secret(), done.clear[0].value)


@pytest.mark.parametrize(
    "options",
    [
        {"ring_bits": 9},
        {"low": -40.0},
        {"index_bits": 21},
        {"low": 20.0},
        {"low": 16.0},
    ],
    ids=str,
)
def test_what_does_not_fit(options: dict[str, float]) -> None:
    fitting = {"ring_bits": 20, "frac_bits": 6, "index_bits": 8, "index_frac": 3, "low": -2.0}
    with pytest.raises(ConfigError):
        Exponential(**{**fitting, **options})  # type: ignore[arg-type]
