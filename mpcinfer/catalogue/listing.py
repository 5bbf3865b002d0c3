"""The catalogue: everything that is registered, with its costs, for tables."""

from __future__ import annotations

import dataclasses
from typing import Any

from mpcinfer.catalogue.crypten import crypten_entries
from mpcinfer.catalogue.entry import Entry
from mpcinfer.catalogue.fss import fss_entries
from mpcinfer.catalogue.gates import gate_entries
from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_config


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


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as plain values in one map; the error as its value and what it is of, or None."""
    fields = dataclasses.asdict(entry)
    fields |= fields.pop("cost")
    error = entry.error
    fields["error"] = None if error is None else {"value": error.value, "of": str(error.kind)}
    return fields
