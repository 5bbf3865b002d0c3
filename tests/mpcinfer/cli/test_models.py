"""`mpcinfer models`: what can be run, what can be billed, and the names of variants."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mpcinfer import cost
from mpcinfer.cli.main import app
from mpcinfer.models.variants import variant, variants
from mpcinfer.models.zoo import zoo


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def test_variants_are_listed_with_what_they_are() -> None:
    table = run("--variants")
    rows = json.loads(run("--variants", "--json"))
    assert [row["name"] for row in rows] == [each.name for each in variants()]
    assert all(row["name"] in table and row["description"] in table for row in rows)
    assert "power4+SM+ScFuFFN" in table


def test_every_variant_is_listed_at_gpt2s_size() -> None:
    rows = {row["name"]: row for row in json.loads(run("--json"))}
    listed = [row["config"] for name, row in rows.items() if name.startswith("gpt2-")]
    for each in variants():
        config = variant(each.name, zoo()["gpt2"].config)
        # A temperature for every position of GPT-2's context is for training; nobody runs it privately.
        assert (config.to_json() in listed) == (config.temperature != "position")


@pytest.mark.parametrize("plan", ["fss", "fss-faithful"])
@pytest.mark.parametrize("name", zoo())
def test_every_known_shape_can_be_billed_under_the_fss_suite(name: str, plan: str) -> None:
    total = cost(name, plan=plan, tokens=4, part="stack").total
    assert total.rounds > 0
    assert total.online_bytes_to_client > 0
