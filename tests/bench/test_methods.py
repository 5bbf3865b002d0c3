"""What benchmarks of methods say of their own numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench import protected_data, relatives
from bench.optimizers import PLAIN, largest_stable, learnt
from bench.protected_data import FILE, GAMMAS, regression, spread


@pytest.mark.parametrize("gamma", GAMMAS)
def test_protected_regression_comes_to_rest_within_a_percent(gamma: float) -> None:
    found = regression(gamma)
    assert found["protected"] == pytest.approx(math.sqrt(2 * gamma), rel=0.01)
    assert found["tau"] == pytest.approx(found["tau_expected"], rel=0.01)


def test_the_record_has_every_gamma_within_a_percent() -> None:
    record = json.loads(FILE.read_text().splitlines()[-1])
    assert [each["gamma"] for each in record["regression"]] == [*GAMMAS]
    assert max(each["error"] for each in record["regression"]) < 0.01


def test_the_largest_stable_rate_is_before_the_first_that_is_not() -> None:
    assert largest_stable([1, 2, 4, 8], [0.05, 0.02, math.inf, 0.03]) == 2
    assert largest_stable([1, 2], [0.05, 0.02]) == 2
    assert math.isnan(largest_stable([1, 2], [0.5, 0.02]))


def test_a_network_that_diverges_has_no_loss() -> None:
    assert learnt(PLAIN["SGD"], 50.0, 0, 30).loss == math.inf
    assert learnt(PLAIN["SGD"], 0.1, 0, 30).loss < learnt(PLAIN["SGD"], 0.0, 0, 30).loss


def test_a_spread_is_a_mean_and_its_range_where_seeds_differ() -> None:
    assert spread([0.5], ".1%") == "50.0%"
    assert spread([1.01, 1.01, 1.01], ".2f") == "1.01"
    assert spread([0.1, 0.5, 0.3], ".1f") == "0.3 (0.1 to 0.5)"


def test_seeds_of_protected_data_are_averaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A record without a seed is of seed 0."""
    first = json.loads(FILE.read_text().splitlines()[0])
    other = json.loads(json.dumps(first)) | {"seed": 1}
    for model in other["models"]:
        model["held_out_perplexity"] += 2.0
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in (other, first, first)) + "\n")
    monkeypatch.setattr(protected_data, "FILE", file)
    least = first["models"][0]["held_out_perplexity"]
    row = protected_data.extraction_table().splitlines()[2]
    assert f"{least + 1:.1f} ({least:.1f} to {least + 2:.1f})" in row


def test_runs_of_another_start_are_not_mixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [
        {"name": "SM+LN+G", "seed": 0, "held_out_loss": 1.0, "diverged": False},
        {"name": "SM+LN+G", "seed": 0, "start": "wider", "held_out_loss": 2.0, "diverged": False},
        {"name": "SM+LN+G", "seed": 1, "start": "wider", "held_out_loss": None, "diverged": True},
    ]
    (tmp_path / relatives.FILE).write_text("\n".join(json.dumps({"extra": row}) for row in rows) + "\n")
    monkeypatch.setattr(relatives, "RECORDS", tmp_path)
    assert relatives.recorded("GPT-2's") == {("SM+LN+G", 0): 1.0}
    assert relatives.recorded("wider") == {("SM+LN+G", 0): 2.0, ("SM+LN+G", 1): None}
    assert relatives.trained_table().splitlines()[2] == "| SM+LN+G | 2.7 | 2.7 | 7.4 | 7.4 | 1 |"
