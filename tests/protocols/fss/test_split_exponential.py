"""exp(-z) by cells of width 1, times the rest."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.operations.exponential_protocols import ExponentialFormats, SplitExponentialProtocol
from protocols.share import Share
from tests.protocols.fss.harness import Program, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform

SPLIT = SplitExponentialProtocol()
FORMATS = ExponentialFormats(
    ring_bits=26, frac_bits=13, index_bits=15, index_frac=10, low=-2.0, centred=False
)
LEAST = -2 << FORMATS.index_frac


def program(formats: ExponentialFormats) -> Program:
    def apply(executor: Executor, index: Share) -> Shares:
        return SPLIT(executor, formats, index)

    return apply


def excess(value: torch.Tensor, scale: int, index: torch.Tensor) -> torch.Tensor:
    """How far it is off, over what is stated: the index is right here, its rounding is not in it."""
    exact = torch.exp(-index.double() / 2.0**FORMATS.index_frac)
    own = SPLIT.max_rel_error(FORMATS) - float(torch.expm1(torch.tensor(2.0**-10, dtype=torch.float64)))
    return (value.double() / 2.0**scale - exact).abs() / (exact * own + 2.0 ** -(FORMATS.frac_bits + 1))


@pytest.mark.parametrize("mask", [0, 1, 511, 512, 1023, 12_345, (1 << 15) - 1, None])
def test_error_over_all_indices(mask: int | None) -> None:
    """A mask's low bits say how far each index is from its cell."""
    index = torch.arange(LEAST, 1 << 14)
    masks = None if mask is None else torch.full_like(index, mask)
    done = run(program(FORMATS), [Secret(index, 10, 15, mask=masks)])
    done.check_bill()
    scale = done.client[0].frac_bits
    assert (scale, done.client[0].ring_bits) == (13 + 13, 26 + 13)
    worst = float(excess(done.secret(), scale, index).max())
    assert worst <= 1.0
    if mask is None:
        assert worst > 0.7, "the bound is far from what happens"


@pytest.mark.parametrize("rounding_seed", [None, 1])
def test_error_of_the_reference(rounding_seed: int | None) -> None:
    index = torch.arange(LEAST, 1 << 14)
    (result,) = clear(program(FORMATS), [Secret(index, 10, 15)], rounding_seed=rounding_seed)
    assert float(excess(result.value, result.frac_bits, index).max()) <= 1.0


def test_what_it_opens_and_takes() -> None:
    done = run(program(FORMATS), [Secret(torch.zeros(64, dtype=torch.int64), 10, 15)])
    done.check_bill()
    assert done.counted.rounds == 1
    # exp(2 + 1/2) at 14 fraction bits has 18 bits, and there are 2 more.
    assert [(label, bits) for label, bits, _ in done.opened()] == [("other/exponential", 20)]
    # 5 bits of cells: 4 bytes of truth table; 3 shared elements of 39 bits, of which one lacks 20.
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 64 * 4 + 64 * (3 * 39 - 20) // 8


@pytest.mark.parametrize("secret", [LEAST, 0, 5000])
def test_what_is_opened_is_uniform(secret: int) -> None:
    for _, bits, value in run(program(FORMATS), [Secret(torch.full((6000,), secret), 10, 15)]).opened():
        assert_uniform(value, bits)


def test_below_its_window_the_reference_refuses() -> None:
    with pytest.raises(RangeError, match="at least -2"):
        clear(program(FORMATS), [Secret(torch.tensor([LEAST - 1]), 10, 15)])


def test_a_wide_ring_leaves_fewer_bits_for_the_factor() -> None:
    formats = dataclasses.replace(FORMATS, ring_bits=58)
    index = torch.arange(LEAST, 1 << 13)
    done = run(program(formats), [Secret(index, 10, 15)])
    assert (done.client[0].frac_bits, done.client[0].ring_bits) == (13 + 6, 64)
    error = (done.secret().double() / 2.0**19 - torch.exp(-index.double() / 1024)).abs()
    stated = torch.exp(-index.double() / 1024) * SPLIT.max_rel_error(formats) + 2.0**-14
    assert bool((error <= stated).all())


@pytest.mark.parametrize(
    "options", [{"ring_bits": 15}, {"low": -16.0}, {"index_frac": 0, "index_bits": 5}], ids=str
)
def test_what_does_not_fit(options: dict[str, float]) -> None:
    index = Secret(torch.zeros(1, dtype=torch.int64), 10, 15)
    with pytest.raises(ConfigError):
        clear(program(dataclasses.replace(FORMATS, **options)), [index])  # type: ignore[arg-type]
