"""Sampling: the distribution, its limits, and where randomness comes from."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mpcinfer.sampling import Random, greedy, make_sampler, seeded_uniform, system_uniform
from parties.errors import ConfigError, RangeError

LOGITS = torch.tensor([0.0, 2.0, -1.0, 2.0, 1.0])


def numbers(*values: float) -> Callable[[], float]:
    return iter(values).__next__


def test_greedy_takes_the_lowest_id_among_equals() -> None:
    assert greedy(LOGITS) == 1
    assert make_sampler()(LOGITS) == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
def test_every_token_gets_its_share_of_the_unit_interval(temperature: float, top_k: int | None) -> None:
    """Over a fine grid of `uniform`, counts are probabilities to within one grid point an end of interval."""
    grid = 4096
    sampler = Random(temperature=temperature, top_k=top_k, uniform=numbers(*(i / grid for i in range(grid))))
    counts = torch.bincount(torch.tensor([sampler(LOGITS) for _ in range(grid)]), minlength=5)
    kept = sorted(range(5), key=lambda i: (-LOGITS[i].item(), i))[:top_k]
    weights = {i: math.exp(LOGITS[i].item() / temperature) for i in kept}
    for token in range(5):
        expected = grid * weights.get(token, 0.0) / sum(weights.values())
        assert abs(counts[token].item() - expected) <= (1 if token in weights else 0), token


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([-1e6, 0.0, -1e6, 0.0])
    sampler = make_sampler(temperature=0.7, uniform=numbers(0.0, 0.5, 1 - 2**-53))
    assert [sampler(logits) for _ in range(3)] == [1, 3, 3]


def test_seeds_repeat_and_differ() -> None:
    def draw(seed: int) -> list[int]:
        sampler = make_sampler(temperature=1.0, uniform=seeded_uniform(seed))
        return [sampler(LOGITS) for _ in range(40)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_the_systems_numbers_lie_in_the_unit_interval() -> None:
    drawn = [system_uniform() for _ in range(100)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) == 100


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_refused(bad: float, temperature: float) -> None:
    with pytest.raises(RangeError, match="1 of 3"):
        make_sampler(temperature=temperature)(torch.tensor([0.0, bad, 1.0]))


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), float("nan")])
def test_temperatures_out_of_range_are_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        make_sampler(temperature=temperature)


def test_top_k_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="top_k"):
        make_sampler(temperature=1.0, top_k=0)
