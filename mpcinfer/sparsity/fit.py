"""From measured errors to patterns: the least budgets, alpha and C of a power that covers them, and drops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mpcinfer.models.patterns import Patterns
from mpcinfer.sparsity.errors import KINDS, HeadErrors, Kind, budgets
from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern

LEAST_EXPONENT = 0.05
"""Where budgets do not grow with the length, or shrink."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one head needs: `keys` of a kind, for each of the lengths."""

    kind: Kind
    keys: tuple[int, ...]


def fitted_to(error: float) -> float:
    """The error that patterns are fitted to; raises ConfigError unless it is above 0 and below 1."""
    if not 0 < error < 1:
        raise ConfigError(f"an error of {error}: above 0 and below 1")
    return error


def fitted(errors: HeadErrors, layers: int, lengths: Sequence[int], target: float) -> Patterns:
    """A pattern for every head.

    Of H heads each may be off by target / sqrt(H), relative to all that the layer's attention adds: errors
    that have nothing to do with each other then add up to the target. A head is dropped where leaving it out
    is off by no more than that at every length, but for the one that adds most. Of kinds of patterns the one
    that sees least is taken.

    C is fitted by least squares to logarithms of the least budgets over those of lengths, and cut to
    [LEAST_EXPONENT, 1]; then alpha is the least that covers every budget.
    """
    return tuple(_layer(errors, layer, lengths, target) for layer in range(layers))


def _layer(errors: HeadErrors, layer: int, lengths: Sequence[int], target: float) -> tuple[KeyPattern, ...]:
    without = torch.stack([errors.relative_without(layer, length) for length in lengths]).amax(0)
    heads = len(without)
    allowed = target / math.sqrt(heads)
    largest = int(without.argmax())
    found: list[KeyPattern] = []
    for head in range(heads):
        if head != largest and float(without[head]) <= allowed:
            found.append(KeyPattern(dropped=True))
            continue
        tried = [_pattern(_budget(errors, layer, lengths, kind, head, allowed), lengths) for kind in KINDS]
        found.append(min(tried, key=lambda pattern: sum(map(pattern.budget, lengths))))
    return tuple(found)


def _budget(
    errors: HeadErrors, layer: int, lengths: Sequence[int], kind: Kind, head: int, allowed: float
) -> Budget:
    """The least budgets from which on no larger one is off by more."""
    keys: list[int] = []
    for length in lengths:
        off = errors.relative(layer, length, kind)[:, head] > allowed
        beyond = int(off.nonzero().max()) + 1 if bool(off.any()) else 0
        keys.append(budgets(length)[min(beyond, len(off) - 1)])
    return Budget(kind, tuple(keys))


def _pattern(budget: Budget, lengths: Sequence[int]) -> KeyPattern:
    """The power that covers a head's budgets."""
    exponent = fitted_exponent(lengths, budget.keys)
    alpha = max(keys / length**exponent for length, keys in zip(lengths, budget.keys, strict=True))
    digits = 10.0 ** (3 - math.floor(math.log10(alpha)))
    return KeyPattern(math.ceil(alpha * digits) / digits, exponent, budget.kind.sinks, budget.kind.strided)


def fitted_exponent(lengths: Sequence[int], keys: Sequence[int]) -> float:
    """C of alpha n^C by least squares in logarithms, three digits, from LEAST_EXPONENT to 1."""
    slope = float(np.polyfit(np.log(lengths), np.log(keys), 1)[0])
    return round(min(max(slope, LEAST_EXPONENT), 1.0), 3)
