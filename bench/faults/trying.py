"""A kind of fault at so many random moments: tried and survived."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from bench.faults.kinds import Kind
from bench.faults.outcome import NotSurvived
from bench.faults.service import Setting
from bench.records import RECORDS, commit
from mpcinfer.benchmark.machine import machine

_STARTING_OF = 5  # one session in so many begins while workers may still be starting
FILE = RECORDS / "faults.jsonl"


@dataclass(kw_only=True)
class FaultRecord:
    """What became of a kind of fault.

    Attributes:
        kind: its name.
        tried, survived: moments. Survived is where everybody else ended with a named error or a right answer,
            the next session was right to the byte, nothing was left over, and no correlation used twice.
        seen: what became of the session with the fault, and how often.
        failures: what was not survived.
        length_s: of a session without a fault, over which moments were spread.
        skipped: why it was not tried; empty where it was.
        store: whether the dealer had one.
    """

    kind: str
    plan: str
    store: bool
    seed: int
    tried: int = 0
    survived: int = 0
    seen: dict[str, int] = field(default_factory=dict[str, int])
    failures: list[str] = field(default_factory=list[str])
    length_s: float = 0.0
    skipped: str = ""
    commit: str = field(default_factory=commit)
    machine: str = field(default_factory=machine)
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def append(self, path: Path = FILE) -> None:
        """Adds this record as one line to a file."""
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self)) + "\n")


def try_kind(
    name: str, kind: Kind, setting: Setting, moments: int, seed: int, folder: Path, say: Callable[[str], None]
) -> FaultRecord:
    """Tries a kind of fault at so many moments of as many sessions of one service.

    After a moment that was not survived the service is started anew, and what it wrote stays in `folder`.

    Args:
        seed: of the moments.
        folder: where services may write.
    """
    record = FaultRecord(kind=name, plan=setting.plan, store=setting.store is not None, seed=seed)
    if kind.needs_dealer and "dealer" not in setting.roles:
        record.skipped = f"{setting.plan} has no dealer"
    record.skipped = record.skipped or kind.why_not()
    if record.skipped:
        return record
    draw, seen = np.random.default_rng(seed), Counter[str]()
    while record.tried < moments:
        before = record.tried
        try:
            with kind.place(folder / f"{name}-{before}", setting) as place:
                while record.tried < moments:
                    record.tried += 1
                    if draw.integers(_STARTING_OF):
                        place.service.await_workers()
                    what = kind.fault(place, draw)
                    place.require_session()
                    place.service.require_settled()
                    record.survived += 1
                    record.length_s = round(place.length_s, 2)
                    seen[what] += 1
                    say(f"{name} {record.tried}/{moments}: {what}")
        except NotSurvived as error:
            if record.tried in (before, record.survived):  # at the service's start, or its end
                record.tried += 1
            record.failures.append(str(error))
            say(f"{name} {record.tried}/{moments}: NOT SURVIVED: {error}")
    record.seen = dict(sorted(seen.items()))
    return record
