"""The catalogue: everything that is registered, with its costs, for tables."""

from __future__ import annotations

from typing import Any

from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_config
from mpcinfer.suites.entry import Entry
from mpcinfer.suites.registry import PLANS, SUITES, suite_named


def protocols(
    suite: str | None = None, model: str = SAMPLE_MODEL, tokens: int = SAMPLE_TOKENS
) -> list[Entry]:
    """Every registered protocol, its costs computed from what it declares.

    Args:
        suite: of one suite only.
        model: samples have the shapes of its first block, and the default ranges of shapes without weights.
        tokens: of the samples' one pass.

    Raises:
        ConfigError: no such model or suite.
    """
    config = folded_config(load_config(model))
    chosen = SUITES.values() if suite is None else [suite_named(suite)]
    return [entry for each in chosen for entry in each.entries(config, tokens)]


def gates(model: str = SAMPLE_MODEL, tokens: int = SAMPLE_TOKENS) -> list[Entry]:
    """Every gate of the suites that have some, likewise."""
    config = folded_config(load_config(model))
    return [entry for each in SUITES.values() for entry in each.gates(config, tokens)]


def plans() -> dict[str, Any]:
    """Every plan with its choices, and what there is to choose from for each operation, as plain values."""
    rows = [
        {"name": plan.name, "suite": plan.suite, "digest": plan.digest(), "choices": dict(plan.choices)}
        for plan in PLANS.values()
    ]
    known = {
        name: {operation: list(protocols) for operation, protocols in suite.operations.items()}
        for name, suite in SUITES.items()
    }
    return {"plans": rows, "known": known}
