"""What a model's program refuses, and when: before anything is dealt or sent."""

from __future__ import annotations

import pytest

from mpcinfer.counting import count
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError

MODEL = "tiny-python"


def with_large_scores() -> dict[str, float]:
    """Ranges of the shipped model, had it scores up to 200."""
    ranges = load_ranges_of(MODEL)
    return {name: 200.0 if name.endswith("scores/matmul") else value for name, value in ranges.items()}


def test_scores_that_histograms_do_not_hold_are_left_to_the_tree() -> None:
    config, plan = load_config(MODEL), get_plan("fss")
    tree = plan.replace(maximum="tree")
    with_histograms, with_trees = (
        count(config, each, tokens=8, ranges=load_ranges_of(MODEL)) for each in (plan, tree)
    )
    assert with_histograms.total.rounds < with_trees.total.rounds
    large = [count(config, each, tokens=8, ranges=with_large_scores()) for each in (plan, tree)]
    assert large[0] == large[1]
    assert large[0].total.rounds == with_trees.total.rounds


def test_more_context_than_the_context_is_refused() -> None:
    config = load_config(MODEL)
    with pytest.raises(ConfigError, match="the model has a context of"):
        Program.of(get_plan("fss"), config, load_ranges_of(MODEL), config.context + 1)
