"""The bill: what each label cost, and the totals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from parties.errors import MalformedFrame


@dataclass(slots=True, kw_only=True)
class BillRow:
    """What one label cost. Bytes are payload unless they are called wire bytes.

    Attributes:
        label: dotted path of spans, `layer3.attn.softmax`.
        kind: what it is, for grouping across layers: `softmax`, `linear`, ...
        rounds: dependent exchanges of the online phase.
        online_bytes_to_server, online_bytes_to_client: online payload by receiver.
        offline_bytes_to_server, offline_bytes_to_client: sent before the input was known: correlated
            randomness by the dealer, and under some plans masked shares by the client.
        offline_rounds: dependent messages between the two parties before the input was known, counted apart
            from the online phase; a dealer's add none.
        setup_bytes, setup_rounds: once a model and session, both directions together.
        control_bytes: handshake and closing, both directions together.
        wire_bytes_to_server, wire_bytes_to_client: all phases, between the two parties, headers, framing
            and encryption included; zero when the bill was counted.
        online_wire_bytes_to_server, online_wire_bytes_to_client: those of them that the online phase sent.
        seconds: time spent under this label and no deeper one, other than offline; None when the bill was
            counted.
        offline_seconds: the same for the offline phase; None where there was none.
    """

    label: str
    kind: str = ""
    rounds: int = 0
    online_bytes_to_server: int = 0
    online_bytes_to_client: int = 0
    offline_bytes_to_server: int = 0
    offline_bytes_to_client: int = 0
    offline_rounds: int = 0
    setup_bytes: int = 0
    setup_rounds: int = 0
    control_bytes: int = 0
    wire_bytes_to_server: int = 0
    wire_bytes_to_client: int = 0
    online_wire_bytes_to_server: int = 0
    online_wire_bytes_to_client: int = 0
    seconds: float | None = None
    offline_seconds: float | None = None

    def add(self, other: BillRow) -> None:
        """Adds another row's amounts to this one's."""
        for field in dataclasses.fields(self):
            if field.name in ("label", "kind"):
                continue
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if its is not None:
                setattr(self, field.name, its if mine is None else mine + its)


@dataclass(slots=True, kw_only=True)
class Bill:
    """Rows in the order in which their labels first occurred."""

    rows: list[BillRow]
    notes: list[str] = dataclasses.field(default_factory=list[str])

    @property
    def total(self) -> BillRow:
        """The sum of all rows."""
        return _sum("total", "", self.rows)

    def by_kind(self) -> list[BillRow]:
        """Rows grouped by kind."""
        return self._grouped(lambda row: row.kind or "other")

    def by_layer(self) -> list[BillRow]:
        """Rows grouped by the first part of their label: embedding, layer0, ..., head."""
        return self._grouped(lambda row: row.label.split(".")[0])

    def _grouped(self, key: Callable[[BillRow], str]) -> list[BillRow]:
        groups: dict[str, list[BillRow]] = {}
        for row in self.rows:
            groups.setdefault(key(row), []).append(row)
        return [_sum(name, name, rows) for name, rows in groups.items()]

    def to_json(self) -> dict[str, Any]:
        """Totals under their own names, and `labels`, a list of rows."""
        total = dataclasses.asdict(self.total)
        del total["label"], total["kind"]
        return {**total, "notes": list(self.notes), "labels": [dataclasses.asdict(row) for row in self.rows]}

    @classmethod
    def from_json(cls, document: dict[str, Any], *, older: bool = False) -> Bill:
        """The bill in `to_json`'s form; raises MalformedFrame for anything else (it may come from a peer).

        Args:
            older: it may be of an earlier release, whose rows lack fields.
        """
        items, notes = document.get("labels"), document.get("notes")
        if not isinstance(items, list) or not isinstance(notes, list):
            raise MalformedFrame("a bill needs its labels and notes")
        rows = [_row(item, older) for item in cast(list[object], items)]
        return cls(rows=rows, notes=[str(note) for note in cast(list[object], notes)])


def _row(item: object, older: bool) -> BillRow:
    """A row from plain values, every field of the right type."""
    fields = cast(dict[str, Any], item) if isinstance(item, dict) else {}
    known = {field.name for field in dataclasses.fields(BillRow)}
    if not fields.keys() <= known or not (known if not older else {"label"}) <= fields.keys():
        raise MalformedFrame("a bill's row has other fields than expected")
    for name, value in fields.items():
        wanted = str if name in ("label", "kind") else (float | None) if name.endswith("seconds") else int
        if not isinstance(value, wanted):
            raise MalformedFrame(f"a bill's {name} is a {type(value).__name__}")
    return BillRow(**fields)


def _sum(label: str, kind: str, rows: Iterable[BillRow]) -> BillRow:
    total = BillRow(label=label, kind=kind)
    for row in rows:
        total.add(row)
    return total
