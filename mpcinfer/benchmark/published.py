"""What others published about private inference: not measured here, nor in one table with what was."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from parties.errors import ConfigError

_FILE = Path(__file__).with_name("published.json")
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One figure of a publication; amounts are None where it does not say.

    Attributes:
        work: what was computed.
        system, model, tokens: whose protocols, on what.
        online_bytes: both directions together.
        rounds: dependent messages.
        offline_bytes: keys or correlations of both parties together, where they are apart.
        seconds: one, or the least and the most that were published.
        trust: who must be trusted, and whether the model is secret.
        hardware, network: or `not stated`.
        counted, left_out: what is in the figures, and what is not.
        source: where they stand.
    """

    work: str
    system: str
    model: str
    tokens: int | None
    online_bytes: float | None
    rounds: int | None
    offline_bytes: float | None
    seconds: list[float] | None
    trust: str
    hardware: str
    network: str
    counted: str
    left_out: str
    source: str


def published(path: Path = _FILE) -> list[Published]:
    """All figures, in the file's order.

    Raises:
        ConfigError: a row lacks a field, has one too many, or says nothing where it must say something.
    """
    known = {field.name for field in fields(Published)}
    rows: list[Published] = []
    documents: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    for number, document in enumerate(documents, 1):
        if set(document) != known:
            raise ConfigError(f"{path.name}, row {number}: fields {sorted(set(document) ^ known)} differ")
        row = Published(**document)
        empty = [name for name in known if getattr(row, name) == ""]
        if empty:
            raise ConfigError(f"{path.name}, row {number}: {', '.join(sorted(empty))} is empty")
        rows.append(row)
    return rows
