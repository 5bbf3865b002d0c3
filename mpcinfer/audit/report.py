"""An audit's result as JSON and as one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from mpcinfer.benchmark.report.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit says.

    Attributes:
        name: of its files.
        title: of its page.
        lines: what was found, in sentences.
        tables: all numbers.
        results: the dataclasses they are from, by name.
    """

    name: str
    title: str
    lines: Sequence[str]
    tables: Sequence[Table]
    results: dict[str, Sequence[Any]]

    def to_json(self) -> dict[str, Any]:
        """Sentences, and every number that the tables show."""
        results = {name: [document(each) for each in rows] for name, rows in self.results.items()}
        return {"audit": self.name, "found": list(self.lines), **results}

    def to_html(self) -> str:
        """The page."""
        text = (files("mpcinfer.audit") / "assets" / "page.html").read_text(encoding="utf-8")
        page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
        return page.render(title=self.title, lines=self.lines, tables=self.tables)

    def write(self, folder: Path) -> list[Path]:
        """Writes NAME.json and NAME.html into a folder, which is made where absent; their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / f"{self.name}.json", folder / f"{self.name}.html"]
        written[0].write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        written[1].write_text(self.to_html(), encoding="utf-8")
        return written


def document(row: Any) -> dict[str, Any]:
    """A result's fields, and what follows from them."""
    fields: dict[str, Any] = dataclasses.asdict(row)
    return fields | dict(_verdicts(row))


def _verdicts(row: Any) -> list[tuple[str, bool]]:
    return [(name, getattr(row, name)) for name in ("clean", "at_chance", "exact") if hasattr(row, name)]
