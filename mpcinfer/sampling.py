"""How the client picks a token from its logits; the randomness is an argument."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import torch

from parties.errors import ConfigError, RangeError

Sampler = Callable[[torch.Tensor], int]
"""Logits [V] of the next token -> its id."""

Uniform = Callable[[], float]
"""A source of independent numbers, uniform in [0, 1)."""


def system_uniform() -> float:
    """One number from the operating system's generator."""
    return secrets.randbits(53) * 2.0**-53


def seeded_uniform(seed: int) -> Uniform:
    """Numbers that repeat for one seed, for tests and for answers that can be reproduced."""
    return random.Random(seed).random


def greedy(logits: torch.Tensor) -> int:
    """The likeliest token, the lowest id among equals.

    Args:
        logits: [V], finite.

    Raises:
        RangeError: a logit is infinite or not a number.
    """
    _check_finite(logits)
    return int(torch.argmax(logits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Draws from softmax(logits / temperature), kept to the `top_k` likeliest tokens, and of these to the
    fewest likeliest that have `top_p` of the probability.

    Attributes:
        temperature: > 0; small is close to greedy.
        top_k: how many tokens to keep, >= 1, or None for all; among equals the lower ids are kept.
        top_p: in (0, 1]; 1 keeps all (nucleus sampling, Holtzman et al., arXiv 1904.09751).
        uniform: where the randomness comes from; called once a token.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    uniform: Uniform = system_uniform

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature must be positive and finite, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def __call__(self, logits: torch.Tensor) -> int:
        """One token id by inversion of the cumulative distribution, in float64.

        Args:
            logits: [V], finite.

        Raises:
            RangeError: a logit is infinite or not a number.
        """
        _check_finite(logits)
        ordered, ids = torch.sort(logits.double(), descending=True, stable=True)
        kept = ordered[: self.top_k]
        cumulative = torch.softmax((kept - kept[0]) / self.temperature, dim=0).cumsum(0)
        if self.top_p < 1:
            cumulative = cumulative[: int((cumulative < self.top_p).sum()) + 1]
        threshold = self.uniform() * cumulative[-1]
        # The first token whose cumulative probability exceeds the threshold; one of probability 0 never does.
        index = int(torch.searchsorted(cumulative, threshold, right=True))
        return int(ids[min(index, len(cumulative) - 1)])


def make_sampler(
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    uniform: Uniform = system_uniform,
) -> Sampler:
    """Greedy at temperature 0, `Random` above it.

    Raises:
        ConfigError: a negative temperature, `top_k` below 1, or `top_p` outside (0, 1].
    """
    if temperature == 0:
        return greedy
    return Random(temperature=temperature, top_k=top_k, top_p=top_p, uniform=uniform)


def _check_finite(logits: torch.Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise RangeError(f"{int((~torch.isfinite(logits)).sum())} of {len(logits)} logits are not finite")
