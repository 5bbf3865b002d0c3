"""What benchmarks of methods say of their own numbers."""

from __future__ import annotations

import json
import math

import pytest

from bench.optimizers import PLAIN, largest_stable, learnt
from bench.protected_data import FILE, GAMMAS, regression


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
