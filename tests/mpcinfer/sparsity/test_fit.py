"""Patterns from measured errors: least budgets, exponents, and heads that are dropped."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.sparsity.calibrate import joined, measured, sparse, with_patterns
from mpcinfer.sparsity.errors import KINDS, HeadErrors, budgets
from mpcinfer.sparsity.fit import LEAST_EXPONENT, fitted, fitted_exponent
from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern
from tests.mpcinfer.patterned import WINDOW
from tests.mpcinfer.test_private_models import GPT2, LLAMA, POWER
from tests.mpcinfer.three_parties import random_model

LENGTHS = (8, 16, 24)
TEXTS = [list(range(40, 64)), list(range(90, 66, -1))]


def errors(need: dict[int, list[int]], without: list[float], heads: int) -> HeadErrors:
    """One layer, whose head h is off by 1 below need[length][h] keys and by nothing from there on."""
    made = HeadErrors()
    for length, keys in need.items():
        tried = torch.tensor(budgets(length), dtype=torch.float64)[:, None]
        off = (tried < torch.tensor(keys, dtype=torch.float64)).double()
        made.add(0, length, dict.fromkeys(KINDS, off), torch.tensor(without).double().square(), 1.0)
    assert all(len(keys) == heads for keys in need.values())
    return made


def test_budgets_that_are_tried_end_with_all_keys() -> None:
    for length in (1, 2, 5, 64, 500):
        tried = budgets(length)
        assert list(tried) == sorted(set(tried))
        assert (tried[0], tried[-1]) == (1, length)


def test_an_exponent_is_the_slope_in_logarithms() -> None:
    lengths = (64, 128, 256, 512)
    for exponent in (0.25, 0.5, 0.9, 1.0):
        keys = [round(1000 * 3 * n**exponent) for n in lengths]
        assert fitted_exponent(lengths, keys) == pytest.approx(exponent, abs=2e-3)
    assert fitted_exponent(lengths, (9, 9, 9, 9)) == LEAST_EXPONENT
    assert fitted_exponent(lengths, (1, 9, 81, 729)) == 1.0


def test_a_pattern_covers_the_least_budgets_and_no_more_than_the_fit_asks_for() -> None:
    need = {64: [8, 64], 256: [16, 256]}
    (found,) = fitted(errors(need, [1.0, 1.0], 2), 1, (64, 256), 0.1)
    assert found[1] == KeyPattern(1.0, 1.0, KINDS[0].sinks, KINDS[0].strided)
    least = [next(each for each in budgets(n) if each >= need[n][0]) for n in need]
    for length, keys in zip(need, least, strict=True):
        assert keys <= found[0].budget(length) <= keys + 1
    assert found[0].exponent == pytest.approx(math.log(least[1] / least[0]) / math.log(4), abs=1e-3)


def test_heads_that_add_little_are_dropped_but_for_the_largest_of_a_layer() -> None:
    need = {8: [1, 1, 1], 16: [1, 1, 1]}
    allowed = 0.3 / math.sqrt(3)
    (found,) = fitted(errors(need, [allowed * 0.9, allowed * 1.1, 0.0], 3), 1, (8, 16), 0.3)
    assert [each.dropped for each in found] == [True, False, True]
    (found,) = fitted(errors(need, [0.01, 0.02, 0.0], 3), 1, (8, 16), 0.3)
    assert [each.dropped for each in found] == [True, False, True]


def test_what_is_measured_is_the_output_that_a_pattern_gives() -> None:
    """One head of one layer, with all of a budget's keys: the error that running the pattern shows."""
    model = random_model(dataclasses.replace(GPT2, layers=1))
    backend = measured(model, TEXTS[:1], LENGTHS)
    length, place = 24, 4
    keys = budgets(length)[place]
    for head in range(2):
        pattern = KeyPattern(float(keys), 1e-12, KINDS[1].sinks, KINDS[1].strided)
        heads = tuple(pattern if h == head else KeyPattern() for h in range(2))
        right, got = (_attention(model, patterns) for patterns in ((), (heads,)))
        rows = slice(length - 16, length)
        off = float((got - right)[rows].norm() / (right[rows] - _bias(model)).norm())
        assert float(backend.errors.relative(0, length, KINDS[1])[place, head]) == pytest.approx(
            off, rel=1e-3
        )


def _bias(model: Model) -> torch.Tensor:
    return model.weights["layer0.attn.out.bias"]


def _attention(model: Model, patterns: tuple[tuple[KeyPattern, ...], ...]) -> torch.Tensor:
    """What the layer's attention adds, [T, D]."""

    added: list[torch.Tensor] = []

    class Watching(PlainBackend):
        def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            added.append(b)
            return super().add(a, b)

    backend = Watching()
    config = dataclasses.replace(model.config, patterns=patterns)
    Decoder(backend, config, model.weights).forward(backend.tokens(TEXTS[0], 24), 24)
    return added[0][0]


@pytest.mark.parametrize("config", [GPT2, LLAMA, POWER], ids=["gpt2", "llama", "power4"])
def test_fitted_patterns_run_and_keep_the_error_near_the_target(config: ModelConfig) -> None:
    model = random_model(config)
    backend = measured(model, TEXTS, LENGTHS)
    seen: list[int] = []
    for error in (0.05, 0.5):
        changed = sparse(model, backend, LENGTHS, error, ["def f(x):"])
        kept = [each for layer in changed.config.patterns for each in layer if not each.dropped]
        seen.append(sum(each.budget(24) for each in kept))
        assert all(changed.ranges[key] >= value for key, value in model.ranges.items() if "_min" not in key)
    assert seen[0] > seen[1]


def test_ranges_are_joined_to_hold_both() -> None:
    joint = joined({"a": 1.0, "x_min": 0.5, "b": 2.0}, {"a": 3.0, "x_min": 0.7, "c": 1.0})
    assert joint == {"a": 3.0, "x_min": 0.5, "b": 2.0, "c": 1.0}


def test_what_cannot_be_measured_is_refused_by_name() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    with pytest.raises(ConfigError, match="two or more"):
        measured(model, TEXTS, (8,))
    with pytest.raises(ConfigError, match="context of 24"):
        measured(model, TEXTS, (8, 25))
    with pytest.raises(ConfigError, match="at least 24 tokens"):
        measured(model, [TEXTS[0][:5]], (8, 24))
    with pytest.raises(ConfigError, match="at least 8 tokens"):
        measured(model, [], (4, 8))
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        sparse(model, measured(model, TEXTS, LENGTHS), LENGTHS, 0.0, ["a"])
    changed = with_patterns(model, ((WINDOW, WINDOW),), ["def"])
    with pytest.raises(ConfigError, match="sees all keys"):
        measured(changed, TEXTS, LENGTHS)
