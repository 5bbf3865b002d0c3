"""Bins, overload and collapse of made-up heads."""

from __future__ import annotations

import math

import pytest
import torch

from mpcinfer.entropy.curves import entropy_curve
from mpcinfer.entropy.measure import HeadEntropies, causal_bound
from mpcinfer.entropy.summary import summarise

BOUND = causal_bound(128)


def heads(*rows: list[float], nans: list[list[float]] | None = None, tokens: int = 128) -> HeadEntropies:
    values = torch.tensor(list(rows), dtype=torch.float64)
    fractions = torch.zeros_like(values) if nans is None else torch.tensor(nans, dtype=torch.float64)
    return HeadEntropies(values, fractions, tokens)


def test_bins_are_relative_to_the_largest_observed_and_overload_and_collapse_absolute() -> None:
    """Largest 2.0, about half the bound: the top quarter is not overload."""
    found = summarise(heads([0.0, 0.49, 0.5, 0.99], [1.0, 1.49, 1.5, 2.0]))
    assert found.quarters == (0.25, 0.25, 0.25, 0.25)
    assert found.overloaded == 0
    assert found.collapsed == 1 / 8  # 0.05 of the bound is 0.19
    assert found.largest == 2.0
    assert found.mean == pytest.approx(7.97 / 8)
    said = "\n".join(found.describe())
    assert "entropy collapse: 12% of 8 heads" in said
    assert "overload" not in said
    assert "NaN" not in said


def test_uniform_heads_are_overloaded() -> None:
    found = summarise(heads([BOUND, 0.96 * BOUND], [0.94 * BOUND, 0.5 * BOUND]))
    assert found.overloaded == 0.5
    assert found.collapsed == 0
    assert found.quarters == (0, 0, 0.25, 0.75)
    assert "entropic overload: 50% of 4 heads" in "\n".join(found.describe())


def test_nan_is_neither_zero_nor_large() -> None:
    found = summarise(heads([math.nan, 2.0], [1.0, 0.0], nans=[[1.0, 0.5], [0.0, 0.0]]))
    assert found.nan_heads == 0.5
    assert found.nan_fraction == pytest.approx(0.375)
    assert found.collapsed == 0.25  # the zero alone
    assert sum(found.quarters) == 0.75
    assert found.mean == 1.0
    assert "NaN: 50% of 4 heads have rows with NaN, 37.5% of all rows" in "\n".join(found.describe())


def test_nothing_but_nan_or_nothing_but_zero() -> None:
    lost = summarise(heads([math.nan, math.nan], nans=[[1.0, 1.0]]))
    assert math.isnan(lost.mean)
    assert math.isnan(lost.largest)
    assert lost.quarters == (0, 0, 0, 0)
    assert lost.collapsed == 0
    silent = summarise(heads([0.0, 0.0]))
    assert silent.quarters == (1, 0, 0, 0)
    assert silent.collapsed == 1


def test_published_shares_of_the_deep_layers_follow_from_the_definitions() -> None:
    """Twelve layers of the published layer means of SM: four below a quarter of 3.87, six above three."""
    means = [3.59, 3.85, 3.82, 3.79, 3.74, 2.60, 2.13, 1.97, 0.52, 0.18, 0.06, 0.04]
    found = summarise(heads(*[[mean] for mean in means], [3.87]))
    assert found.quarters == pytest.approx((4 / 13, 0, 3 / 13, 6 / 13))
    assert found.overloaded == pytest.approx(5 / 13)  # 0.95 of 3.878 is 3.684
    assert found.collapsed == pytest.approx(3 / 13)  # 0.05 of it is 0.194


def test_curve_of_a_log() -> None:
    nan = math.nan
    curve = entropy_curve(
        [
            {
                "step": 0,
                "entropies": [[1.0, 2.0], [nan, 4.0]],
                "nan_fractions": [[0, 0], [1, 0]],
                "tokens": 128,
            },
            {"step": 1, "loss": 3.0},
            {
                "step": 5,
                "entropies": [[nan, nan], [1.0, 1.0]],
                "nan_fractions": [[1, 1], [0, 0]],
                "tokens": 128,
            },
        ]
    )
    assert [point.step for point in curve] == [0, 5]
    assert curve[0].layer_means() == [1.5, 4.0]
    assert curve[0].layer_nans() == [0, 0.5]
    assert math.isnan(curve[1].layer_means()[0])
    assert curve[1].summary.nan_heads == 0.5
    assert entropy_curve([{"step": 1, "loss": 3.0}]) == []
