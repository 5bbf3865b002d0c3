"""Which keys a pattern has seen: as many as its budget, the first, the last, and some between."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from parties.errors import ConfigError
from protocols.key_masks import pattern_mask
from protocols.key_pattern import KeyPattern, all_lengths, keys_within

PATTERNS = [
    KeyPattern(),
    KeyPattern(1.0, 0.5),
    KeyPattern(2.0, 0.5, 4),
    KeyPattern(1.5, 0.75, 4, 0.5),
    KeyPattern(0.01, 0.2, 3, 0.9),
    KeyPattern(5.0, 0.3, 50, 0.25),
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_query_sees_as_many_keys_as_the_budget_its_own_among_them(pattern: KeyPattern) -> None:
    for position in range(200):
        keys = pattern.keys(position)
        assert keys == sorted(set(keys))
        assert len(keys) == pattern.budget(position + 1)
        assert keys[0] >= 0
        assert keys[-1] == position


def test_the_budget_is_alpha_times_a_power_rounded_up() -> None:
    pattern = KeyPattern(2.0, 0.5)
    assert [pattern.budget(seen) for seen in (1, 4, 16, 17, 64, 65)] == [1, 4, 8, 9, 16, 17]
    assert KeyPattern(1e-9, 0.5).budget(1000) == 1
    assert KeyPattern(2.0**24, 0.5).budget(1000) == 1000


def test_sinks_then_spread_keys_then_the_window() -> None:
    assert keys_within(100, 10, 2, 0.5) == [0, 1, 13, 37, 60, 84, 96, 97, 98, 99]
    assert keys_within(100, 3, 5, 0.5) == [0, 1, 99]
    assert keys_within(4, 4, 1, 0.5) == [0, 1, 2, 3]
    assert keys_within(100, 1, 4, 0.0) == [99]


def test_what_is_seen_does_not_depend_on_where_a_pass_begins() -> None:
    patterns = tuple(PATTERNS)
    whole = pattern_mask(patterns, 0, 40)
    for start in (1, 17, 39):
        assert torch.equal(pattern_mask(patterns, start, 40 - start), whole[:, start:])


def test_lengths_are_those_of_the_mask() -> None:
    lengths = torch.tensor(all_lengths(PATTERNS, 7, 30)).reshape(len(PATTERNS), 30)
    assert torch.equal(lengths, pattern_mask(tuple(PATTERNS), 7, 30).sum(-1))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"exponent": 0.0}, "exponent"),
        ({"exponent": 1.01}, "exponent"),
        ({"sinks": -1}, "sinks"),
        ({"strided": 1.0}, "strided"),
        ({"strided": -0.1}, "strided"),
    ],
)
def test_numbers_that_make_no_pattern(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        KeyPattern(**fields)
