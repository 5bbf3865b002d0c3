"""Generated tables inside documents."""

from __future__ import annotations

import pytest

from bench import costs
from bench.markdown import table, updated

DOCUMENT = (
    "before\n<!-- table: one -->\nold\n<!-- end -->\nbetween\n<!-- table: two -->\n<!-- end -->\nafter\n"
)


def test_tables_are_made_anew_and_the_rest_is_kept() -> None:
    fresh = updated(DOCUMENT, {"one": lambda: "1", "two": lambda: "2"}, "x.md")
    assert fresh == (
        "before\n<!-- table: one -->\n1\n<!-- end -->\nbetween\n<!-- table: two -->\n2\n<!-- end -->\nafter\n"
    )
    assert updated(fresh, {"one": lambda: "1"}, "x.md") == fresh


def test_a_document_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"x\.md has no place for table three"):
        updated(DOCUMENT, {"three": lambda: "3"}, "x.md")


def test_columns_are_aligned() -> None:
    assert table(["a", "b", "c"], [["x", "1", "y"]], left=("c",)) == (
        "| a | b | c |\n| --- | ---: | --- |\n| x | 1 | y |"
    )


def test_a_plan_that_cannot_run_a_model_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "PLANS", ["crypten-stock", "fss"])
    refused, *others = costs.TABLES["smollm2"]().splitlines()[2:]
    assert "crypten-stock" in refused
    assert "cannot: CrypTen's inverse square root holds on [0.1, 150]" in refused
    assert ["a token more" in row for row in others] == [False, True]
