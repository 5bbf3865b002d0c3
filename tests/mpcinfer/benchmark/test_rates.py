"""Rates of computing: what was measured comes out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpcinfer.benchmark.passes import Passes, difference, text_of
from mpcinfer.benchmark.rates import ALL, Rate, Rates, fitted
from parties.bill import Bill, BillRow
from parties.errors import ConfigError


def _bill(scale: int, rate: Rate) -> Bill:
    rows = [
        BillRow(label="a", kind="softmax", rounds=3, online_bytes_to_server=1000 * scale),
        BillRow(label="b", kind="softmax", rounds=2, offline_bytes_to_server=500 * scale),
        BillRow(label="c", kind="linear"),
    ]
    for row in rows:
        row.seconds = rate.seconds(row)
    return Bill(rows=rows)


def _rates(**suites: dict[str, Rate]) -> Rates:
    return Rates(model="m", tokens=8, machine="here", measured="2026-01-01T00:00:00+00:00", suites=suites)


def test_a_fit_finds_what_it_was_made_of() -> None:
    rate = Rate(0.002, 1e-6)
    found = fitted(_bill(100, rate), _bill(1, rate))
    for kind in ("softmax", ALL):
        assert found[kind].per_round == pytest.approx(rate.per_round)
        assert found[kind].per_byte == pytest.approx(rate.per_byte)
    assert found["linear"].per_round == pytest.approx(rate.per_round)


@pytest.mark.parametrize(("large_s", "small_s"), [(1.0, 2.0), (100.0, 0.001), (0.0, 0.0), (1.0, 1.0)])
def test_no_rate_is_negative(large_s: float, small_s: float) -> None:
    large, small = _bill(100, Rate(0.0, 0.0)), _bill(1, Rate(0.0, 0.0))
    large.rows[0].seconds, small.rows[0].seconds = large_s, small_s
    for rate in fitted(large, small).values():
        assert rate.per_round >= 0
        assert rate.per_byte >= 0


def test_a_kind_that_was_not_measured_takes_the_rates_of_all() -> None:
    rates = _rates(fss={ALL: Rate(1.0, 0.0), "softmax": Rate(2.0, 0.0)})
    bill = Bill(rows=[BillRow(label="x", kind="new", rounds=2), BillRow(label="y", kind="softmax", rounds=2)])
    assert rates.compute("fss", bill) == {"x": 2.0, "y": 4.0}
    with pytest.raises(ConfigError, match="no measured rates of the suite crypten"):
        rates.compute("crypten", bill)


def test_rates_survive_a_file(tmp_path: Path) -> None:
    rates = _rates(fss={ALL: Rate(1.0, 0.5)})
    (tmp_path / "rates.json").write_text(json.dumps(rates.to_json()))
    assert Rates.read(tmp_path / "rates.json") == rates


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"suites": {"fss": {"": {"x": 1}}}}'])
def test_what_is_no_rates_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "rates.json").write_text(text)
    with pytest.raises(ConfigError, match="rates"):
        Rates.read(tmp_path / "rates.json")
    with pytest.raises(ConfigError, match="rates"):
        Rates.read(tmp_path / "missing.json")


def test_a_difference_of_bills_has_what_came_since() -> None:
    before = Bill(rows=[BillRow(label="a", rounds=2, seconds=1.0), BillRow(label="b", rounds=1, seconds=0.5)])
    after = Bill(
        rows=[
            BillRow(label="a", rounds=5, seconds=1.5, kind="softmax"),
            BillRow(label="b", rounds=1, seconds=0.5),
            BillRow(label="c", setup_bytes=3),
        ]
    )
    rows = difference(before, after).rows
    assert [(row.label, row.rounds, row.seconds, row.setup_bytes) for row in rows] == [
        ("a", 3, 0.5, 0),
        ("c", 0, None, 3),
    ]


def test_a_typical_pass_takes_the_median() -> None:
    passes = Passes()
    for seconds in (1.0, 2.0, 9.0):
        rows = [BillRow(label=name, rounds=1, seconds=seconds / 4) for name in "ab"]
        passes.add(seconds, Bill(rows=rows))
    assert passes.median == 2.0
    assert [row.seconds for row in passes.bill().rows] == [1.0, 1.0]
    with pytest.raises(ConfigError, match="no pass"):
        _ = Passes().median


def test_a_prompt_of_so_many_tokens() -> None:
    words = str.split
    assert len(words(text_of(words, 17))) == 17
    with pytest.raises(ConfigError, match="no prompt"):
        text_of(lambda text: [0] * (2 * len(text)), 7)
