"""GELU and SiLU on lines, alone and gated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.line_activation import GatedLineActivation, LineActivation
from protocols.fss.tables.cells import Cells
from protocols.share import Share
from tests.protocols.fss.harness import Program, Run, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform, chi_square

KINDS: list[str] = ["gelu", "gelu_tanh", "silu"]
TRUE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}
FRAC, BITS = 6, 11
"""x reaches from -16 to 16, but for the last cell."""
SMALL = {"index_bits": BITS, "index_frac": FRAC, "cell_frac": 2, "value_bits": 7, "slope_bits": 5}


def alone(kind: str, *, ring_bits: int = 20, **options: int) -> LineActivation:
    return LineActivation(kind, ring_bits=ring_bits, frac_bits=FRAC, **{**SMALL, **options})


def gated(kind: str, *, ring_bits: int = 28) -> GatedLineActivation:
    return GatedLineActivation(kind, ring_bits=ring_bits, frac_bits=FRAC, **SMALL)


def program(gate: LineActivation | GatedLineActivation) -> Program:
    """Takes the index, x and, where the gate has one, the other factor."""

    def apply(executor: Executor, index: Share, *others: Share) -> Shares:
        return executor.apply(gate, index, *map(executor.view, others))

    return apply


def inputs(x: torch.Tensor, factor: torch.Tensor | None = None) -> list[Secret]:
    """The index is x, under a mask of its own; views need a bit of slack."""
    secrets = [Secret(x, FRAC, BITS), Secret(x, FRAC, 12)]
    return secrets if factor is None else [*secrets, Secret(factor, 4, 9)]


def every(cell_frac: int = 2) -> torch.Tensor:
    """All that an index holds."""
    half = 1 << (BITS - 1)
    return torch.arange(-half, half - (1 << (FRAC - cell_frac)) + 1)


def off(kind: str, value: torch.Tensor, scale: int, x: torch.Tensor) -> torch.Tensor:
    return (value.double() / 2.0**scale - TRUE[kind](x.double() / 2.0**FRAC)).abs()


@pytest.mark.parametrize("mask", [0, 1, 7, 8, 15, 16, 700, (1 << BITS) - 1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_error_over_everything_an_index_holds(kind: str, mask: int | None) -> None:
    """Privately. A mask's low bits say how far each number is from its cell."""
    x, gate = every(), alone(kind)
    index, view = inputs(x)
    if mask is not None:
        index = dataclasses.replace(index, mask=torch.full_like(x, mask))
    done = run(program(gate), [index, view])
    done.check_bill()
    scale = done.server[0].frac_bits
    assert (scale, done.server[0].ring_bits) == (16, 20 + 10)
    worst = float(off(kind, done.secret(), scale, x).max())
    assert worst <= gate.max_abs_error
    if mask is None:
        assert worst > gate.max_abs_error / 2, "the bound is far from what happens"


@pytest.mark.parametrize("rounding_seed", [None, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_error_of_the_reference(kind: str, rounding_seed: int | None) -> None:
    x, gate = every(), alone(kind)
    (result,) = clear(program(gate), inputs(x), rounding_seed=rounding_seed)
    assert float(off(kind, result.value, result.frac_bits, x).max()) <= gate.max_abs_error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell_frac", [0, 3, 5])
def test_error_with_other_cells(kind: str, cell_frac: int) -> None:
    """Down to two places a cell, and up to cells that are read with truth tables and with trees."""
    x, gate = every(cell_frac), alone(kind, cell_frac=cell_frac, value_bits=12, slope_bits=9)
    for seed in (1, 2, 3):
        (result,) = clear(program(gate), inputs(x), rounding_seed=seed)
        assert float(off(kind, result.value, result.frac_bits, x).max()) <= gate.max_abs_error


def test_an_index_with_fewer_fraction_bits() -> None:
    """Rounded up or down, as probabilistic truncation does it: the stated error covers that."""
    gate = alone("gelu", index_bits=9, index_frac=4)
    exact = alone("gelu")
    x = every()[:-8]
    for index in (x >> 2, -((-x) >> 2)):
        secrets = [Secret(index, 4, 9), Secret(x, FRAC, 12)]
        done = run(program(gate), secrets)
        worst = float(off("gelu", done.secret(), done.server[0].frac_bits, x).max())
        assert exact.max_abs_error < worst <= gate.max_abs_error


@pytest.mark.parametrize("kind", KINDS)
def test_gated(kind: str) -> None:
    x = every()
    factor = (37 * x) % 251 - 125
    done = run(program(gated(kind)), inputs(x, factor))
    done.check_bill()
    scale = done.server[0].frac_bits
    assert scale == 16 + 4
    right = TRUE[kind](x.double() / 2.0**FRAC) * factor.double() / 16.0
    error = (done.secret().double() / 2.0**scale - right).abs()
    assert bool((error <= alone(kind).max_abs_error * factor.double().abs() / 16.0 + 2.0**-30).all())


def test_a_wide_ring_leaves_fewer_bits_for_lines() -> None:
    x, gate = every(), alone("gelu", ring_bits=62)
    done = run(program(gate), inputs(x))
    assert (gate.extra_bits, done.server[0].ring_bits) == (2, 64)
    assert float(off("gelu", done.secret(), FRAC + 2, x).max()) <= gate.max_abs_error


@pytest.mark.parametrize(("cell_frac", "key"), [(2, 16), (4, 64), (6, 16 * 5)])
def test_what_is_opened_and_taken(cell_frac: int, key: int) -> None:
    """7, 9 and 11 bits of cells: truth tables to the server, or a tree's 5 blocks to each."""
    options = {"index_frac": cell_frac + 1, "index_bits": 5 + cell_frac + 1, "cell_frac": cell_frac}
    gate = LineActivation("gelu", ring_bits=20, frac_bits=7, **{**SMALL, **options})
    index, view = (
        Secret(torch.zeros(800, dtype=torch.int64), f, b) for f, b in ((cell_frac + 1, 0), (7, 13))
    )
    index = dataclasses.replace(index, ring_bits=options["index_bits"])
    done = run(program(gate), [index, view])
    done.check_bill()
    assert [(label, bits) for label, bits, _ in done.opened()] == [
        ("other/activation", 7),
        ("other/activation", 5),
        ("other/activation", 1),
    ]
    assert done.counted.rounds == 1
    tree = cell_frac == 6
    assert done.counted.offline_bytes_to_client == (800 * key if tree else 0)
    # e x: 5 shares of which 2 lack 13 bits; the line: 5 shares of 29 bits, of which two lack 7 and 5.
    shares = 5 * 20 - 2 * 13 + 5 * 29 - 7 - 5
    assert done.counted.offline_bytes_to_server == 800 * key + 100 * shares


def opened(secret: int) -> Run:
    x = torch.full((6000,), secret)
    return run(program(gated("gelu")), inputs(x, factor=x >> 3))


@pytest.mark.parametrize("secret", [-1000, -3, 3, 60])
def test_what_is_opened_is_uniform(secret: int) -> None:
    for _, bits, value in opened(secret).opened():
        assert_uniform(value, bits)


@pytest.mark.parametrize("secret", [-1000, -3, 3, 60])
def test_value_slope_and_sign_are_uniform_together(secret: int) -> None:
    """Two low bits of each, and two high ones: 5 bits of which all combinations are as frequent."""
    (_, value_bits, value), (_, slope_bits, slope), (_, _, sign) = opened(secret).opened()
    for part in (0, 1):
        two = [(v >> part * (bits - 2)) & 3 for v, bits in ((value, value_bits), (slope, slope_bits))]
        joint = two[0] + 4 * two[1] + 16 * sign
        assert chi_square(joint, 5) < 68.0  # 31 degrees of freedom: exceeded once in 10,000


def test_frames_tell_nothing_of_the_secret() -> None:
    shapes = [[(f.label, f.specs) for f in opened(secret).frames] for secret in (-1000, 3)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("shape", [(), (2, 0), (2, 3, 5)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    x = torch.arange(torch.Size(shape).numel()).reshape(shape) * 13 - 200
    done = run(program(gated("gelu_tanh")), inputs(x, x >> 2))
    done.check_bill()
    assert done.secret().shape == shape


def test_out_of_range_is_an_error_in_the_clear() -> None:
    with pytest.raises(RangeError, match=r"at most 15\.75"):
        clear(program(alone("gelu")), inputs(every()[-1:] + 1))
    with pytest.raises(RangeError):
        clear(program(alone("gelu", ring_bits=9)), inputs(torch.tensor([500])))


@pytest.mark.parametrize(
    "options",
    [
        {"index_frac": 7},
        {"index_frac": 2},
        {"index_bits": 5},
        {"value_bits": 2},
        {"slope_bits": 2},
        {"kind": "relu"},
        {"kind": "softplus"},
    ],
    ids=str,
)
def test_what_does_not_fit(options: dict[str, Any]) -> None:
    fitting: dict[str, Any] = {"kind": "gelu", "ring_bits": 20, "frac_bits": FRAC, **SMALL}
    with pytest.raises(ConfigError):
        LineActivation(**{**fitting, **options})


def test_a_value_that_is_no_view_is_refused() -> None:
    x = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ConfigError, match="view"):
        run(lambda m, index, x: m.apply(alone("gelu"), index, x), inputs(x))


@pytest.mark.parametrize(("ring_bits", "rest_bits"), [(5, 2), (6, 3), (6, 1)])
def test_cells_are_an_identity(ring_bits: int, rest_bits: int) -> None:
    """Every number under every mask."""
    cells, half = Cells(ring_bits, rest_bits), 1 << (ring_bits - 1)
    number, mask = torch.cartesian_prod(torch.arange(-half, half), torch.arange(2 * half)).T
    cell, a, b = cells.places(number, mask)
    assert torch.equal(((cell << rest_bits) + a - b - number) % (2 * half), torch.zeros_like(number))
    assert 0 <= int(torch.minimum(a, b).min()) <= int(torch.maximum(a, b).max()) < 1 << rest_bits
