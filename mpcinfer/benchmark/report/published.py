"""Numbers from others' papers: a table of their own, beside nothing that was measured here."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from parties.errors import ConfigError

PUBLISHED = Path(__file__).parent.parent / "published.json"
"""What comes with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a paper says of one system and model.

    Attributes:
        work, system, model: the paper, what it ran, and on what.
        online_bytes, offline_bytes: both ways, all parties together; None where it does not say.
        seconds: one number, or several that the source gives.
        trust: who must be trusted, in words.
        hardware, network: on and over which.
        counted: what its numbers have in them; left_out: what they have not.
        source: where in the paper.
    """

    work: str
    system: str
    model: str
    tokens: int | None = None
    online_bytes: int | float | None = None
    rounds: int | None = None
    offline_bytes: int | float | None = None
    seconds: int | float | list[int | float] | None = None
    trust: str = ""
    hardware: str = ""
    network: str = ""
    counted: str = ""
    left_out: str = ""
    source: str = ""

    @property
    def all_seconds(self) -> list[int | float]:
        """As many as there are."""
        if self.seconds is None:
            return []
        return self.seconds if isinstance(self.seconds, list) else [self.seconds]


def read_published(path: Path | None = None) -> list[Published]:
    """Published numbers.

    Args:
        path: a list of JSON objects; None for what comes with the package, which may be nothing.

    Raises:
        ConfigError: the file cannot be read, or an entry is none; the message has its number.
    """
    if path is None and not PUBLISHED.exists():
        return []
    where = path or PUBLISHED
    try:
        document = json.loads(where.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: no JSON: {error}") from None
    if not isinstance(document, list):
        raise ConfigError(f"{where}: published numbers are a list of objects")
    return [_entry(item, f"{where}, entry {i}") for i, item in enumerate(cast(list[object], document), 1)]


def _entry(item: object, where: str) -> Published:
    known = {each.name for each in fields(Published)}
    try:
        values = {key: value for key, value in cast(dict[str, Any], item).items() if key in known}
        entry = Published(**values)
        _check(entry)
        return entry
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"{where}: no published number: {error}") from None


def _check(entry: Published) -> None:
    """Raises TypeError where a number is none; words cannot be wrong."""
    numbers = [entry.tokens, entry.online_bytes, entry.rounds, entry.offline_bytes, *entry.all_seconds]
    for number in numbers:
        if number is not None and not isinstance(cast(object, number), int | float):
            raise TypeError(f"{number!r} is no number")
