"""What a model's program refuses, and when: before anything is dealt or sent."""

from __future__ import annotations

import pytest

from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError

MODEL = "tiny-python"


def with_large_scores() -> dict[str, float]:
    """Ranges of the shipped model, had it scores up to 200."""
    ranges = load_ranges_of(MODEL)
    return {name: 200.0 if name.endswith("scores/matmul") else value for name, value in ranges.items()}


def test_scores_that_histograms_do_not_hold_are_refused_at_once() -> None:
    config, plan = load_config(MODEL), get_plan("fss")
    with pytest.raises(ConfigError, match=r"of 9 bits: histograms hold 3 to 8, maximum=tree any"):
        Program.of(plan, config, with_large_scores())
    assert Program.of(plan.replace(maximum="tree"), config, with_large_scores()).max_context == config.context


def test_more_context_than_the_context_is_refused() -> None:
    config = load_config(MODEL)
    with pytest.raises(ConfigError, match="the model has a context of"):
        Program.of(get_plan("fss"), config, load_ranges_of(MODEL), config.context + 1)
