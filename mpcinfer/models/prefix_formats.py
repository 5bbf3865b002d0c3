"""What both parties agree on about every fitted prefix, so that nothing of it has to be told: how finely its
sums are kept, and how large what a query reads of them may get."""

from __future__ import annotations

from typing import get_args

from mpcinfer.models.attention_state import FeatureMap
from parties.errors import ConfigError

PREFIX_FRAC = 10
"""Fraction bits of a state's sums, where they are shares, of features of softmax."""
PAIRS_FRAC = 16
"""The same of ``pairs``."""
BESIDE_FRAC = 24
"""Of what is beside them, such as epsilon times a number of keys."""
LARGEST_READ = 2.0**24
"""phi(q) z, what softmax's rows read of a state, is at most this: about the sum of exp of the scores that it
stands for. phi(q) Z is at most so many times the largest value."""
LARGEST_SUM = 2.0**17
"""The same over exp of the row's largest score, or of 0."""
LEAST_DIVISOR = 2.0**-5
"""A row's sum, over exp of its largest score or 0, is at least this."""
LARGEST_SQUARES = 2.0**17
"""phi(q) z and what is beside it, what power 2's rows read of a state, is at most this: the sum of squares of
the scores that it stands for, and epsilon for each. phi(q) Z is at most so many times the largest value."""
LEAST_KEPT = 2.0**-1
"""A row's sum of power 2 with a state is at least this much of its sum without. A fitted state only adds."""


def sum_frac(features: FeatureMap) -> int:
    """Fraction bits of a state's sums, where they are shares."""
    return PAIRS_FRAC if features == "pairs" else PREFIX_FRAC


def features_named(name: object) -> FeatureMap | None:
    """Features by their name; None for None.

    Raises:
        ConfigError: there are no such features.
    """
    if name is None:
        return None
    for features in get_args(FeatureMap):
        if name == features:
            return features
    raise ConfigError(f"features are {', '.join(get_args(FeatureMap))}, not {str(name)[:80]!r}")
