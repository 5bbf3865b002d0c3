"""Patterns for tests: heads that see all, a part, and nothing."""

from __future__ import annotations

import dataclasses

from mpcinfer.models.config import ModelConfig
from protocols.key_pattern import KeyPattern

ALL, WINDOW, SPREAD = KeyPattern(), KeyPattern(1.0, 0.5, 1), KeyPattern(1.2, 0.7, 1, 0.5)
NOTHING = KeyPattern(dropped=True)


def patterned(config: ModelConfig, *, dropped: bool = False) -> ModelConfig:
    """The shape with patterns in every layer but the last of several; one head dropped in each, or none."""
    usual = (WINDOW, SPREAD, ALL, WINDOW)
    heads = tuple(usual[number % 4] for number in range(config.heads))
    heads = (NOTHING, *heads[1:]) if dropped else heads
    rest: tuple[tuple[KeyPattern, ...], ...] = ((),) if config.layers > 1 else ()
    return dataclasses.replace(config, patterns=(heads,) * (config.layers - len(rest)) + rest)
