"""A table's value and the sign of an index, from one key and one exchange."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party import Party
from protocols.fss.gates.lookup import Lookup
from protocols.fss.gates.polynomial import (
    Form,
    TermList,
    deal_product,
    evaluate_product,
    form_of,
    key_correlations,
)
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlation, Correlations, Mask
from protocols.fss.tables.tables import Table, tabulate
from protocols.share import Share
from tests.protocols.fss.harness import Run, Secret, run
from tests.protocols.fss.uniformity import assert_uniform

BITS = 8
HALF = 1 << (BITS - 1)


class Probe(Gate):
    """T[i] and d of an index, whichever a look-up has, as additive shares in Z_2^30.

    Args:
        bits: looks at so many low bits of the index only.
    """

    reason = "probe"

    def __init__(self, table: Table, *, sign: bool = True, bits: int = BITS) -> None:
        self._table, self._bits = table, bits
        self._lookup = Lookup(table, table_frac=3, index_bits=bits, sign=sign)

    def correlations(self, *inputs: Share) -> Correlations:
        (index,) = inputs
        keys: Correlations = {}
        for name, forms in self._forms(index).items():
            keys.update(key_correlations(name, forms, 30))
        return {**self._lookup.correlations(index.shape), **keys}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*self._lookup.arrays(inputs[0].shape))

    def outputs(self, *inputs: Share) -> Shares:
        (index,) = inputs
        scales = {"value": 3, "sign": 0}
        return tuple(shape_only(index.shape, scales[name], 30) for name in self._forms(index))

    def run(self, party: Party, *inputs: Share) -> Shares:
        (index,) = inputs
        opened = self._lookup.run(party, self._cut(index), self.reason)
        terms: list[list[TermList]] = []
        if opened.values:
            terms.append(self._lookup.coefficients(opened))
        if opened.sign is not None:
            terms.append([coefficients(opened.sign)])
        shares = [
            evaluate_product(party, forms, known, 30)
            for forms, known in zip(self._forms(index).values(), terms, strict=True)
        ]
        pairs = zip(shares, self.outputs(index), strict=True)
        return tuple(Share(value, like.frac_bits, 30) for value, like in pairs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (index,) = inputs
        opened, signs = self._lookup.deal(dealing, self._cut(index))
        known: list[list[TermList]] = []
        if opened.values:
            known.append(self._lookup.secrets(opened, signs, index))
        if opened.sign is not None:
            known.append([secrets(opened.sign)])
        for forms, values in zip(self._forms(index).values(), known, strict=True):
            deal_product(dealing, forms, values, 30)
        return self.outputs(index)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        (index,) = inputs
        results = {"value": self._table.at(index.value), "sign": (index.value >= 0).long()}
        pairs = zip(self._forms(index), self.outputs(index), strict=True)
        return tuple(Share(results[name], like.frac_bits, 30) for name, like in pairs)

    def _cut(self, index: Share) -> Share:
        return Share(index.value, 0, self._bits, index.held)

    def _forms(self, index: Share) -> dict[str, list[Form]]:
        shapes = self._lookup.shapes(index.shape)
        forms: dict[str, list[Form]] = {}
        if shapes.values:
            forms["value"] = self._lookup.forms(index.shape)
        if shapes.sign is not None:
            forms["sign"] = [form_of(shapes.sign)]
        return forms


def table(low: int, *values: int) -> Table:
    return Table(low, np.array(values, np.int64))


def probe(
    table: Table, index: torch.Tensor, mask: torch.Tensor | None, *, sign: bool = True, seed: int = 0
) -> Run:
    def program(executor: Executor, index: Share) -> Shares:
        return executor.apply(Probe(table, sign=sign), index)

    return run(program, [Secret(index, 0, BITS, mask=mask)], seed=seed)


def every_index_and_mask() -> tuple[torch.Tensor, torch.Tensor]:
    grid = torch.cartesian_prod(torch.arange(-HALF, HALF), torch.arange(1 << BITS))
    return grid[:, 0], grid[:, 1]


WINDOWS = {
    "around zero": table(-3, 5, -7, 1, 0, 2, 9),
    "one entry": table(17, -40),
    "from the least index": table(-HALF, 1, 2, 3),
    "to the largest index": table(HALF - 3, 1, 2, -3),
    "everywhere": Table(-HALF, np.arange(1, 2 * HALF + 1, dtype=np.int64)),
    "wider than a leaf": Table(-90, np.arange(-100, 77, dtype=np.int64)),
    "none": table(0),
}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_every_index_and_mask(window: Table) -> None:
    index, mask = every_index_and_mask()
    done = probe(window, index, mask)
    done.check_bill()
    for i, expected in enumerate(done.clear):
        assert torch.equal(done.secret(i), expected.value)


@pytest.mark.parametrize("window", [WINDOWS["around zero"], WINDOWS["everywhere"]], ids=["narrow", "wide"])
def test_a_table_without_the_sign(window: Table) -> None:
    index, mask = every_index_and_mask()
    done = probe(window, index, mask, sign=False)
    done.check_bill()
    assert len(done.clear) == 1
    assert torch.equal(done.secret(), done.clear[0].value)


def test_outside_of_its_window_a_table_is_exactly_zero() -> None:
    window = table(-2, 100, 100, 100, 100)
    index, mask = every_index_and_mask()
    outside = (index < -2) | (index > 1)
    done = probe(window, index[outside], mask[outside])
    assert int(done.secret().abs().max()) == 0


def test_masks_may_exceed_their_ring() -> None:
    index = torch.arange(-HALF, HALF)
    done = probe(WINDOWS["around zero"], index, (1 << 40) + 3 * index)
    assert torch.equal(done.secret(0), done.clear[0].value)
    assert torch.equal(done.secret(1), done.clear[1].value)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 0), (65,)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    index = torch.arange(torch.Size(shape).numel()).reshape(shape) - 2
    done = probe(WINDOWS["around zero"], index, None)
    done.check_bill()
    assert torch.equal(done.secret(0), done.clear[0].value)
    assert torch.equal(done.secret(1), done.clear[1].value)


def test_what_it_opens_and_what_it_takes() -> None:
    index = torch.zeros(800, dtype=torch.int64)
    done = probe(WINDOWS["around zero"], index, None)
    # The largest entry is 9: 4 bits and 2 more.
    assert [(label, bits) for label, bits, _ in done.opened()] == [("other/probe", 6), ("other/probe", 1)]
    assert done.counted.rounds == 1
    assert done.counted.online_bytes_to_server == 800 * 7 // 8
    # A truth table of 256 bits. In Z_2^30 the server gets 3 shares for s V, less 6 bits, and 1 for d.
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 800 * 32 + 100 * (4 * 30 - 6)


def test_without_a_table_the_key_is_shorter_and_one_bit_is_opened() -> None:
    done = probe(WINDOWS["none"], torch.zeros(800, dtype=torch.int64), None)
    assert [(label, bits) for label, bits, _ in done.opened()] == [("other/probe", 1)]
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 800 * 16 + 100 * 30


def uniform(secret: int, *, seed: int = 3) -> None:
    index = torch.full((6000,), secret)
    for window in (WINDOWS["around zero"], WINDOWS["none"]):
        for _, bits, value in probe(window, index, None, seed=seed).opened():
            assert_uniform(value, bits)


@pytest.mark.parametrize("secret", [-HALF, -1, 2, 100])
def test_what_is_opened_is_uniform(secret: int) -> None:
    uniform(secret)


def test_a_mask_drawn_from_half_its_ring_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(draw: Callable[..., torch.Tensor]) -> Callable[[Executor, Correlation], torch.Tensor]:
        def draw_less(executor: Executor, item: Correlation) -> torch.Tensor:
            assert isinstance(item, Mask)
            return draw(executor, Mask(item.shape, max(1, item.bits - 1)))

        return draw_less

    for executor in (Party, Dealing):
        monkeypatch.setattr(executor, "mask", halved(executor.mask))
    index = torch.full((6000,), 2)
    _, bits, value = probe(WINDOWS["around zero"], index, None).opened()[0]
    with pytest.raises(AssertionError):
        assert_uniform(value, bits)


def test_a_look_up_without_range_check_is_noticed() -> None:
    """An index of which only the window's own bits are looked at has values of the table outside of it."""
    window = table(-4, 5, 5, 5, 5, 5, 5, 5, 5)
    index, mask = every_index_and_mask()

    def unchecked(executor: Executor, index: Share) -> Shares:
        return executor.apply(Probe(window, sign=False, bits=3), index)

    done = run(unchecked, [Secret(index, 0, BITS, mask=mask)])
    inside = (index >= -4) & (index < 4)
    assert torch.equal(done.secret()[inside], done.clear[0].value[inside])
    assert int(done.secret()[~inside].min()) == 5


@pytest.mark.parametrize(
    ("window", "bits", "sign"),
    [
        (table(-HALF - 1, 1), 8, True),
        (table(HALF, 1), 8, True),
        (table(HALF - 1, 1, 1), 8, True),
        (table(HALF, 1, 1), 8, False),
        (table(-HALF, *([1] * (2 * HALF + 1))), 8, False),
        (table(0, 1), 1, True),
        (table(0, 1), 21, True),
        (table(0), 8, False),
    ],
)
def test_impossible_look_ups(window: Table, bits: int, sign: bool) -> None:
    with pytest.raises(ConfigError):
        Lookup(window, table_frac=0, index_bits=bits, sign=sign)


def test_tables_round_to_the_nearest_and_lose_zeros_at_their_ends() -> None:
    made = tabulate(lambda x: 1.0 - np.abs(x), low=-8, high=8, index_frac=1, table_frac=2)
    # At -1, -1/2, 0, 1/2, 1: 0, 2, 4, 2, 0; beyond, negative.
    assert made.low == -8
    assert made.values.tolist() == [-12, -10, -8, -6, -4, -2, 0, 2, 4, 2, 0, -2, -4, -6, -8, -10]
    peak = tabulate(lambda x: np.maximum(1.0 - np.abs(x), 0.0), low=-8, high=8, index_frac=1, table_frac=2)
    assert (peak.low, peak.high, peak.values.tolist()) == (-1, 2, [2, 4, 2])
    middle = tabulate(lambda x: x, low=0, high=2, index_frac=0, table_frac=1, offset=0.5)
    assert middle.values.tolist() == [1, 3]
    assert tabulate(np.zeros_like, low=-8, high=8, index_frac=0, table_frac=0).values.size == 0


@pytest.mark.parametrize(("largest", "bits"), [(0, 2), (1, 3), (-1, 3), (3, 4), (4, 5), (-255, 10)])
def test_the_ring_of_a_table(largest: int, bits: int) -> None:
    made = table(0, largest)
    assert made.value_bits == bits
    assert abs(largest) < 1 << (bits - 2)


@pytest.mark.parametrize("value", [np.inf, np.nan, 2.0**50])
def test_tables_of_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ConfigError, match="52 bits"):
        tabulate(lambda x: np.full_like(x, value), low=0, high=2, index_frac=0, table_frac=4)
