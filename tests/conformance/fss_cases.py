"""Every gate of the FSS suite, with inputs for the checks of `fss_suite`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import CLIENT
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party import Party
from protocols.fss.gates.coarse_maximum import CoarseMaximum
from protocols.fss.gates.comparison import IsNegative
from protocols.fss.gates.embedding import TokensToServerHeld
from protocols.fss.gates.exact_truncation import TruncateExactly
from protocols.fss.gates.line_activation import GatedLineActivation, LineActivation
from protocols.fss.gates.line_tanh import TanhOnLines
from protocols.fss.gates.linear import Linear, MaskAtServer, RevealToClient, ToServerHeld
from protocols.fss.gates.lookup_activation import Activation, GatedActivation
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.lookup_tanh import TanhLookup
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.gates.polynomial import Product, SumOfSquares
from protocols.fss.gates.public_rows import OwnTokens, PublicRows
from protocols.fss.gates.range_reduction import RangeReduction
from protocols.fss.gates.split_exponential import SplitExponential
from protocols.fss.gates.square import Square
from protocols.fss.gates.widening import Widen
from protocols.fss.preprocessing.matrix import Matrix, PublicCopy
from protocols.share import Held, Share
from tests.conformance.fss_attention_cases import attention_cases
from tests.conformance.fss_case import Case, Domain, additive, direct, elementwise
from tests.protocols.fss.harness import Program, Weight
from tests.protocols.fss.replay import Replay


def _opening() -> list[Case]:
    opens, hold, publish, client = Open(), ToServerHeld(), OpenToClient(), RevealToClient()
    whole = Domain(-1000, 1000, 12, 5, Held.SERVER_MASKED)
    held = Domain(-2000, 2000, 12, 5, Held.SERVER_HELD)

    shares = Domain(-64, 64, 8, 5, Held.ADDITIVE)

    def cut(executor: Executor, x: Share) -> Share:
        return executor.reduce(executor.truncate(x, 3), 8)

    return [
        elementwise(
            "open, cut", opens, lambda m, x: m.apply(opens, m.truncate(x, 3)), shares, every_mask=True
        ),
        elementwise("hold, cut", hold, lambda m, x: m.apply(hold, m.truncate(x, 3)), shares, every_mask=True),
        elementwise("open", opens, direct(opens), additive(9)),
        elementwise("open, two widths", opens, direct(opens), additive(5), additive(13)),
        elementwise("publish", publish, lambda m, x: m.apply(publish, cut(m, x)), whole),
        elementwise("hold", hold, direct(hold), additive(9)),
        elementwise("veil", MaskAtServer(), lambda m, x: m.apply(publish, m.one(MaskAtServer(), x)), held),
        elementwise("to the client", client, direct(client), held),
        elementwise("to the client, cut", client, lambda m, x: m.apply(client, m.truncate(x, 4)), held),
    ]


def _known(executor: Executor, ids: Share) -> list[int] | None:
    """Ids that are an input of the client's and that nobody else looks at."""
    known = ids.value[0] if isinstance(executor, Replay) else ids.value
    there = isinstance(executor, Clear | Replay) or (isinstance(executor, Party) and executor.rank == CLIENT)
    return known.tolist() if there else None


def _tokens() -> list[Case]:
    table = torch.arange(-64, 64).reshape(32, 4)
    public = Matrix("t", (32, 4), 3, 9, table, masked=False, public=PublicCopy(table, 9))

    def one_hot(executor: Executor, ids: Share) -> Shares:
        return executor.apply(TokensToServerHeld(_known(executor, ids), ids.shape[-1], 32, 9))

    def rows(executor: Executor, ids: Share) -> Shares:
        own = executor.one(OwnTokens(_known(executor, ids), ids.shape[-1], 32))
        return executor.apply(PublicRows(public), own)

    ids = Domain(0, 32, 6, 0, Held.ADDITIVE, at_client=True)
    shapes = (((1,),), ((3,),))
    return [
        Case("tokens", TokensToServerHeld, one_hot, (ids,), shapes, ((64,),)),
        Case("own tokens", OwnTokens, rows, (ids,), shapes, ((512,),)),
        Case("public rows", PublicRows, rows, (ids,), shapes, ((512,),)),
    ]


def _linear() -> list[Case]:
    matrix = Weight("matrix", torch.arange(-10, 10).reshape(4, 5) * 37, 3, 20, torch.linspace(-1, 1, 5))
    table = Weight("table", torch.arange(-10, 10).reshape(5, 4) * 11, 3, 22)
    gain = Weight("gain", torch.tensor([9, -8, 255, 1]), 4, 20)
    x = Domain(-128, 128, 20, 4, Held.SERVER_HELD)

    def layer(weight: Weight, **options: object) -> Program:
        return lambda executor, x: executor.apply(Linear(weight.at(executor), **options), x)  # type: ignore[arg-type]

    def case(name: str, program: Program, *weights: Weight) -> Case:
        shapes = (((3, 4),), ((1, 4),), ((2, 1, 4),))
        return Case(name, Linear, program, (x,), shapes, ((512, 4),), weights)

    def two(executor: Executor, x: Share) -> Shares:
        held = executor.one(Linear(gain.at(executor), held=Held.SERVER_HELD), x)
        return executor.apply(Linear(table.at(executor), transposed=True, held=Held.SERVER_HELD), held)

    rows = Weight("rows", torch.arange(-10, 10).reshape(2, 10) * 23, 3, 20)

    def by_rows(executor: Executor, x: Share) -> Shares:
        return executor.apply(Linear(rows.at(executor), columns=slice(4, 4 + x.shape[-2])), x)

    narrow = Domain(-8, 8, 20, 4, Held.SERVER_HELD)
    both = case("two linear layers", two, gain, table)
    return [
        case("linear", layer(matrix), matrix),
        case("linear, transposed", layer(table, transposed=True), table),
        case("linear, to be held", layer(gain, held=Held.SERVER_HELD), gain),
        Case(
            "linear, by rows",
            Linear,
            by_rows,
            (x,),
            (((2, 3, 4),), ((1, 2, 1, 4),), ((2, 6, 2),)),
            ((2, 6, 171),),
            (rows,),
        ),
        Case(both.name, Linear, two, (narrow,), both.shapes, both.many, both.weights),
    ]


def _products() -> list[Case]:
    pair = Domain(-16, 16, 12, 2)
    view, bit = Domain(-(1 << 9), 1 << 9, 12, 3), Domain(0, 2, 1)
    squares = SumOfSquares(24)
    square_shapes = (((3, 4),), ((1, 1),), ((2, 2, 3),))
    small = Domain(-32, 32, 8, 3)
    return [
        elementwise("product", Product(10), direct(Product(10)), pair, pair),
        elementwise(
            "product of a view and a bit",
            Product(20),
            lambda m, x, d: m.apply(Product(20), m.view(x, 4), d),
            view,
            bit,
        ),
        elementwise(
            "view", Product(20), lambda m, x: m.apply(Product(20), m.view(x, 3)), small, every_mask=True
        ),
        Case(
            "sum of squares",
            SumOfSquares,
            lambda m, x: m.apply(squares, m.view(x, 2)),
            (view,),
            square_shapes,
            ((64, 4),),
        ),
        elementwise(
            "square", Square(20), lambda m, x: m.apply(Square(20), m.view(x, 3)), small, every_mask=True
        ),
        elementwise("widen", Widen(20), direct(Widen(20)), small, every_mask=True),
        elementwise("widen, two", Widen(13, 64), direct(Widen(13, 64)), small, view),
    ]


def _comparisons() -> list[Case]:
    cut, sign = TruncateExactly(3, 12), IsNegative()
    slack, full = Domain(-64, 64, 8, 5), Domain(-128, 128, 8, 5)
    lengths = (1, 4, 3)
    coarse = Domain(-4, 4, 3, -1)
    return [
        elementwise("exact truncation", cut, direct(cut), slack, every_mask=True),
        elementwise("sign", sign, direct(sign), full, every_mask=True),
        Case(
            "coarse maximum",
            CoarseMaximum,
            direct(CoarseMaximum(lengths)),
            (coarse,),
            (((8,),), ((3, 8),), ((2, 1, 8),)),
            ((2048, 8),),
        ),
    ]


def _indexed(gate: Gate) -> Program:
    """A gate on a value of 3 fraction bits, read through a view, and its index of 6 bits."""
    return lambda m, x: m.apply(gate, m.view(x), m.reduce(m.truncate(x, 2), 6))


def _curves() -> list[Case]:
    def options(ring_bits: int, **more: bool) -> dict[str, int | bool]:
        return dict(ring_bits=ring_bits, frac_bits=3, index_bits=6, index_frac=1, table_frac=3, **more)

    x, up = Domain(-60, 60, 8, 3), Domain(-20, 20, 8, 2)
    cases = [
        elementwise(kind, gate, _indexed(gate), x, every_mask=True)
        for kind in ("gelu", "gelu_tanh", "silu", "relu")
        for gate in [Activation(kind, **options(15))]  # type: ignore[arg-type]
    ]
    unit = GatedActivation("silu", **options(18))  # type: ignore[arg-type]
    cases.append(
        elementwise(
            "gated",
            unit,
            lambda m, x, u: m.apply(unit, m.view(x), m.reduce(m.truncate(x, 2), 6), m.view(u)),
            x,
            up,
        )
    )
    exp = Exponential(ring_bits=16, frac_bits=6, index_bits=8, index_frac=4, low=-1.0)
    cases.append(elementwise("exp", exp, direct(exp), Domain(-16, 128, 8, 4), every_mask=True))
    split = SplitExponential(ring_bits=16, frac_bits=6, index_bits=8, index_frac=4, low=-1.0)
    cases.append(elementwise("split exp", split, direct(split), Domain(-16, 128, 8, 4), every_mask=True))
    tanh = TanhLookup(ring_bits=16, frac_bits=6, index_bits=8, index_frac=4)
    cases.append(elementwise("tanh", tanh, direct(tanh), Domain(-128, 128, 8, 4), every_mask=True))
    return cases


def on_lines(gate: Gate) -> Program:
    """A gate on a value of 3 fraction bits, through a view, whose index is the value without its slack."""
    return lambda m, x, *factors: m.apply(gate, m.reduce(x, 7), m.view(x), *map(m.view, factors))


LINES = {"index_bits": 7, "index_frac": 3, "cell_frac": 1, "value_bits": 6, "slope_bits": 5}


def _lines() -> list[Case]:
    x, up = Domain(-60, 60, 8, 3), Domain(-20, 20, 8, 2)
    cases = [
        elementwise(f"{kind} on lines", gate, on_lines(gate), x, every_mask=True)
        for kind in ("gelu", "gelu_tanh", "silu")
        for gate in [LineActivation(kind, ring_bits=15, frac_bits=3, **LINES)]
    ]
    tanh = TanhOnLines(ring_bits=28, index_bits=8, index_frac=4, height=3.0)
    cases.append(
        elementwise("tanh on lines", tanh, direct(tanh), Domain(-128, 127 - 2, 8, 4), every_mask=True)
    )
    unit = GatedLineActivation("silu", ring_bits=18, frac_bits=3, **LINES)
    return [*cases, elementwise("gated on lines", unit, on_lines(unit), x, up)]


def _range_reduction() -> list[Case]:
    def inverse(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / np.maximum(s, 1.0)

    def gate(exact_truncation: bool) -> RangeReduction:
        return RangeReduction(
            inverse, 3, 100, cells_bits=2, ring_bits=16, frac_bits=12, exact_truncation=exact_truncation
        )

    s = Domain(-2, 101, 8)
    return [
        elementwise("octaves", gate(False), direct(gate(False)), s, every_mask=True),
        elementwise("octaves, exact", gate(True), direct(gate(True)), s, every_mask=True),
    ]


MAKERS: tuple[Callable[[], list[Case]], ...] = (
    _opening,
    _tokens,
    _linear,
    _products,
    attention_cases,
    _comparisons,
    _curves,
    _lines,
    _range_reduction,
)
CASES = [case for make in MAKERS for case in make()]
