"""`mpcinfer list`: tables and JSON of what there is to choose from."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.suites.registry import PLANS, SUITES


def run(*arguments: str, width: int = 80) -> str:
    result = CliRunner().invoke(app, ["list", *arguments], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("width", [80, 160])
def test_protocols_as_a_table(width: int) -> None:
    table = run("protocols", width=width)
    assert max(len(line) for line in table.splitlines()) <= width
    for name, suite in SUITES.items():
        assert f"suite {name}" in table
        for operation, names in suite.operations.items():
            assert operation in table
            assert all(name in table for name in names)
    for text in ("SIGMA", "CrypTen 0.4.1", "semi-honest parties", "rounds", " rel", "exact"):
        assert text in table
    assert "…" not in table  # nothing was cut off


def test_protocols_of_one_suite() -> None:
    table = run("protocols", "--suite", "crypten", "--tokens", "16")
    assert "histogram" not in table
    assert "gpt2, 16 tokens" in table


def test_protocols_as_json() -> None:
    rows = json.loads(run("protocols", "--json"))
    keys = {"operation", "name", "suite", "security", "rounds", "online_bits_to_server", "error", "source"}
    assert all(keys <= set(row) for row in rows)
    assert len(rows) == sum(len(names) for suite in SUITES.values() for names in suite.operations.values())


def test_gates() -> None:
    assert "TruncateExactly" in run("gates")
    assert {"CausalMix", "RangeReduction"} <= {row["name"] for row in json.loads(run("gates", "--json"))}


def test_plans() -> None:
    table = run("plans")
    assert all(name in table for name in PLANS)
    assert "histogram" in table
    assert "tree" in table
    rows = {row["name"]: row for row in json.loads(run("plans", "--json"))}
    assert rows["fss-faithful"]["choices"]["truncation"] == "faithful"
    assert rows["crypten"]["digest"] == PLANS["crypten"].digest()


def test_models() -> None:
    assert "tiny-python" in run("models")
