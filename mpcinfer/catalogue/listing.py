"""The catalogue: everything that is registered, with its costs, for tables."""

from __future__ import annotations

from typing import Any

from mpcinfer.catalogue.crypten import crypten_entries
from mpcinfer.catalogue.entry import Entry
from mpcinfer.catalogue.fss import fss_entries
from mpcinfer.catalogue.gates import gate_entries
from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_config
from protocols.registry import PLANS, SUITES


def protocols(
    engine: str | None = None, model: str = SAMPLE_MODEL, tokens: int = SAMPLE_TOKENS
) -> list[Entry]:
    """Every registered protocol, its costs computed from what it declares.

    Args:
        engine: of one engine only.
        model: samples have the shapes of its first block, and the default ranges of shapes without weights.
        tokens: of the samples' one pass.

    Raises:
        ConfigError: no such model.
    """
    config = folded_config(load_config(model))
    entries = [*fss_entries(config, tokens), *crypten_entries(config, tokens)]
    return [entry for entry in entries if engine in (None, entry.engine)]


def gates(model: str = SAMPLE_MODEL, tokens: int = SAMPLE_TOKENS) -> list[Entry]:
    """Every gate of the FSS suite, likewise."""
    return gate_entries(folded_config(load_config(model)), tokens)


def plans() -> dict[str, Any]:
    """Every plan with its choices, and what there is to choose from for each operation, as plain values."""
    rows = [
        {"name": plan.name, "engine": plan.suite, "digest": plan.digest(), "choices": dict(plan.choices)}
        for plan in PLANS.values()
    ]
    known = {
        engine: {operation: list(protocols) for operation, protocols in suite.operations.items()}
        for engine, suite in SUITES.items()
    }
    return {"plans": rows, "known": known}
