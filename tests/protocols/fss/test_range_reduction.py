"""Look-ups over many binades: cells tile for every mask, results equal references, errors are small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares, shape_only
from protocols.fss.gates.range_reduction import RangeReduction, line_error
from protocols.fss.preprocessing.correlations import Idpf
from protocols.fss.ring import low as residue
from protocols.fss.tables.binade_cells import REST_BITS, BinadeCells, Function
from protocols.share import Held, Share
from tests.protocols.fss.harness import Program, Run, Secret, clear, run

FRAC = 20
LAYOUTS = [
    # ring, low, high, bits of cells: one binade and many, from the narrowest cells and from wider ones.
    (10, 0, 511, 2),
    (10, 3, 500, 3),
    (11, 37, 1023, 3),
    (11, 1, 1023, 4),
    (10, 130, 511, 3),
    (10, 200, 255, 3),
    (8, 1, 127, 1),
    (4, 0, 7, 1),
    (3, 1, 3, 4),
    (10, 1, 9, 6),
]
LARGEST = pytest.param(12, 1, 2047, 4, marks=pytest.mark.long)


def identity(s: NDArray[np.float64]) -> NDArray[np.float64]:
    return s


def inverse(s: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / np.maximum(s, 1.0)


def power(exponent: float, scale_bits: int) -> Function:
    def function(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2.0**scale_bits * np.maximum(s, 1.0) ** -exponent

    return function


def gate(low: float, high: float, cells_bits: int, *, exact_truncation: bool = False) -> RangeReduction:
    return RangeReduction(
        inverse,
        low,
        high,
        cells_bits=cells_bits,
        ring_bits=FRAC + 2,
        frac_bits=FRAC,
        exact_truncation=exact_truncation,
    )


def binades(low: float, high: float, cells_bits: int, *, exact_truncation: bool = False) -> Program:
    def program(executor: Executor, s: Share) -> Shares:
        return executor.apply(gate(low, high, cells_bits, exact_truncation=exact_truncation), s)

    return program


def every_number_and_mask(cells: BinadeCells, ring_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[numbers, masks] each."""
    numbers = torch.arange(cells.least, cells.high + 1)[:, None]
    masks = torch.arange(1 << ring_bits)[None]
    shape = torch.broadcast_shapes(numbers.shape, masks.shape)
    return numbers.expand(shape), masks.expand(shape)


@pytest.mark.parametrize(("ring_bits", "low", "high", "cells_bits"), [*LAYOUTS, LARGEST])
def test_every_number_and_mask_lies_in_exactly_one_window(
    ring_bits: int, low: int, high: int, cells_bits: int
) -> None:
    cells = BinadeCells(identity, low, high, cells_bits, FRAC)
    numbers, masks = every_number_and_mask(cells, ring_bits)
    masked = residue(numbers + masks, ring_bits)
    hits = sum(
        (window.places(masked, masks, ring_bits) < window.counts(masked)).to(torch.int64)
        for window in cells.windows
    )
    assert isinstance(hits, torch.Tensor)
    assert bool((hits == 1).all())


@pytest.mark.parametrize(("ring_bits", "low", "high", "cells_bits"), [*LAYOUTS, LARGEST])
def test_a_straight_line_is_read_exactly(ring_bits: int, low: int, high: int, cells_bits: int) -> None:
    """Lines of s itself: whichever neighbour on the grid a mask makes of s, its line says s."""
    cells = BinadeCells(identity, low, high, cells_bits, 0)
    numbers, masks = every_number_and_mask(cells, ring_bits)
    inside = numbers[:, 0] >= low
    numbers, masks = numbers[inside], masks[inside]
    read = cells.at_random_cell(numbers, masks, ring_bits)
    assert cells.shifts[-1] <= REST_BITS
    assert torch.equal(read, numbers << REST_BITS)


@pytest.mark.parametrize(("ring_bits", "low", "high", "cells_bits"), [row for row in LAYOUTS if row[0] <= 10])
def test_every_number_and_mask_in_private(ring_bits: int, low: int, high: int, cells_bits: int) -> None:
    cells = BinadeCells(inverse, low, high, cells_bits, FRAC)
    numbers, masks = every_number_and_mask(cells, ring_bits)
    result = run(binades(low, high, cells_bits), [Secret(numbers, ring_bits=ring_bits, mask=masks)])
    assert torch.equal(result.secret(), cells.at_random_cell(numbers, masks, ring_bits))
    assert torch.equal(result.clear[0].value, cells.at_cell(numbers) << REST_BITS)


@pytest.mark.parametrize(
    ("ring_bits", "low", "high", "cells_bits"),
    [(8, 1, 127, 1), (9, 0, 255, 2), (8, 20, 100, 2), (4, 0, 7, 1), (3, 1, 3, 4)],
)
def test_every_number_and_mask_in_private_with_exact_cells(
    ring_bits: int, low: int, high: int, cells_bits: int
) -> None:
    cells = BinadeCells(inverse, low, high, cells_bits, FRAC)
    numbers, masks = every_number_and_mask(cells, ring_bits)
    program = binades(low, high, cells_bits, exact_truncation=True)
    result = run(program, [Secret(numbers, ring_bits=ring_bits, mask=masks)])
    assert torch.equal(result.secret(), cells.at_cell(numbers))
    assert torch.equal(result.clear[0].value, result.secret())


def over_all_binades(low: int, high: int, count: int) -> torch.Tensor:
    """Numbers at even steps of their logarithm, and those around the bounds of binades."""
    even = np.exp(np.linspace(np.log(low), np.log(high), count)).astype(np.int64)
    bounds = [(1 << k) + d for k in range(62) for d in (-2, -1, 0, 1)]
    return torch.tensor([s for s in (*even.tolist(), *bounds, high) if low <= s <= high])


@pytest.mark.parametrize("exact_truncation", [False, True])
@pytest.mark.parametrize(
    ("ring_bits", "low", "high", "cells_bits", "exponent"),
    [(33, 1 << 12, (1 << 31) - 1, 7, 1.0), (46, 1 << 10, 3 << 43, 6, 0.5), (62, 1, (1 << 61) - 1, 2, 0.5)],
)
def test_errors_are_within_their_bounds(
    ring_bits: int, low: int, high: int, cells_bits: int, exponent: float, exact_truncation: bool
) -> None:
    numbers = over_all_binades(low, high, 60 if exact_truncation else 400)
    # A scale at which a unit of the tables' last place is at most 2^-20 of any value.
    function = power(exponent, int(np.ceil(np.log2(high) * exponent)))

    def program(executor: Executor, s: Share) -> Shares:
        binades = RangeReduction(
            function,
            low,
            high,
            cells_bits=cells_bits,
            ring_bits=56,
            frac_bits=FRAC,
            exact_truncation=exact_truncation,
        )
        return executor.apply(binades, s)

    result = run(program, [Secret(numbers, ring_bits=ring_bits)])
    got = result.secret().numpy() / 2.0 ** result.client[0].frac_bits
    right = function(numbers.numpy().astype(np.float64))
    ratio = np.abs(got / right - 1.0)
    exact = (1 + 2.0 ** -(cells_bits + 1)) ** exponent - 1
    bound = exact if exact_truncation else line_error(exponent, cells_bits)
    assert ratio.max() <= bound + 2.0**-20
    assert ratio.max() > bound / 8  # it is a look-up, not the function


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_mean_over_all_masks(exponent: float) -> None:
    ring_bits, high, cells_bits = 11, 1023, 4
    cells = BinadeCells(power(exponent, 30), 1, high, cells_bits, 10)
    numbers, masks = every_number_and_mask(cells, ring_bits)
    numbers, masks = numbers[-high:], masks[-high:]
    mean = cells.at_random_cell(numbers, masks, ring_bits).double().mean(-1).numpy() * 2.0**-REST_BITS
    right = numbers[:, 0].numpy() ** -exponent * 2.0**40
    # On the grid what is added for the mean is too much; between its points the rest is half as much.
    bound = exponent * (exponent + 1) / 12 * 4.0**-cells_bits * (1 + 2.0 ** (3 - cells_bits))
    assert (np.abs(mean - right) <= bound * right + 1.0).all()


def key_item(result: RangeReduction, ring_bits: int) -> Idpf:
    item = result.correlations(shape_only((5, 2), 0, ring_bits, Held.MASKED))["prefixes"]
    assert isinstance(item, Idpf)
    return item


def check_nothing_is_sent(result: Run) -> None:
    result.check_bill()
    assert result.counted.rounds == 0
    assert not result.frames


@pytest.mark.parametrize("exact_truncation", [False, True])
def test_bill(exact_truncation: bool) -> None:
    ring_bits = 20
    result = run(
        binades(300, 100_000, 5, exact_truncation=exact_truncation),
        [Secret(torch.full((5, 2), 4321), ring_bits=ring_bits)],
    )
    check_nothing_is_sent(result)
    # 300 lies in binade 8, 100,000 in binade 16: cells from width 2^3 to width 2^11.
    levels, values = (20, 20) if exact_truncation else (17, 9)
    width = FRAC + 2 if exact_truncation else 2 * (FRAC + 2 + REST_BITS)
    each = 10 * 16 * levels + (10 * values * width + 7) // 8
    assert result.counted.offline_bytes_to_server == result.counted.offline_bytes_to_client == each
    item = key_item(gate(300, 100_000, 5, exact_truncation=exact_truncation), ring_bits)
    assert item.depths == (tuple(range(1, 21)) if exact_truncation else tuple(range(9, 18)))


@pytest.mark.parametrize("exact_truncation", [False, True])
def test_below_the_lower_bound_the_value_is_that_of_its_cell(exact_truncation: bool) -> None:
    low, high, cells_bits = 40, 500, 3
    numbers = torch.arange(-8, 37).repeat(10)  # cells of width 4: the cell of 40 is 40 to 43
    program = binades(low, high, cells_bits, exact_truncation=exact_truncation)
    result = run(program, [Secret(numbers, ring_bits=10)])
    at = 41.5 if exact_truncation else 40.0
    assert bool((result.secret() == round(2**FRAC / at) << (0 if exact_truncation else REST_BITS)).all())


def test_the_reference_rounds_numbers_at_random_where_asked() -> None:
    program, numbers = binades(1, 1000, 3), torch.full((4000,), 67)  # between 64 and 72, a quarter and 3/8
    (result,) = clear(program, [Secret(numbers, ring_bits=11)], rounding_seed=5)
    window = next(w for w in BinadeCells(inverse, 1, 1000, 3, FRAC).windows if w.shift == 3)
    values, slopes = (table[8 - window.first :] for table in (window.table, window.slopes))
    at_64, at_72 = (
        int((value << REST_BITS) + slope * (off << (REST_BITS - 3)))
        for value, slope, off in zip(values, slopes, (3, -5), strict=False)
    )
    share = float((result.value == at_72).double().mean())
    assert bool(((result.value == at_64) | (result.value == at_72)).all())
    assert abs(share - 3 / 8) < 4 * (3 / 8 * 5 / 8 / 4000) ** 0.5  # four standard deviations
    (exact,) = clear(
        binades(1, 1000, 3, exact_truncation=True), [Secret(numbers, ring_bits=11)], rounding_seed=5
    )
    assert bool((exact.value == round(2**FRAC / 67.5)).all())


@pytest.mark.parametrize("number", [-9, 501])
def test_the_reference_refuses_numbers_outside(number: int) -> None:
    with pytest.raises(RangeError, match="binades hold -8 to 500"):
        clear(binades(40, 500, 3), [Secret(torch.tensor([number]), ring_bits=10)])


@pytest.mark.parametrize(("high", "ring_bits"), [(512, 10), (100, 63)])
def test_rings_that_do_not_fit_are_refused(high: int, ring_bits: int) -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        run(binades(1, high, 3), [Secret(torch.tensor([1]), ring_bits=ring_bits)])


@pytest.mark.parametrize(("low", "high", "cells_bits"), [(-1, 5, 3), (6, 5, 3), (1, 5, 0)])
def test_bounds_that_are_none_are_refused(low: int, high: int, cells_bits: int) -> None:
    with pytest.raises(ConfigError, match="no binades"):
        BinadeCells(inverse, low, high, cells_bits, FRAC)


def test_undefined_values_are_refused() -> None:
    def undefined(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full_like(s, np.nan)

    with pytest.raises(ConfigError, match="undefined between"):
        _ = BinadeCells(undefined, 1, 9, 3, FRAC).windows
