"""What changed between two files of records: counts exactly, times with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.benchmark.store import Key, key_of

COUNTS = (
    "offline_rounds",
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
)
"""What is compared to the byte."""
TIMES = ("seconds", "offline_seconds", "dealer_seconds", "setup_seconds")


@dataclass(frozen=True, slots=True)
class Times:
    """Repetitions of one time, in seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the repetitions."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        spread = f" ({low:.3g} to {high:.3g}, {len(self.values)} runs)" if len(self.values) > 1 else ""
        return f"{self.median:.3g} s{spread}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One measurement in both files, or in one.

    Attributes:
        key: see `mpcinfer.benchmark.store.Key`.
        counts: what differs: name -> before and after.
        times: what both have: name -> before and after.
        said: in words, where there is more to say: it is new, gone, or failed.
    """

    key: Key
    counts: dict[str, tuple[int, int]]
    times: dict[str, tuple[Times, Times]]
    said: str = ""

    @property
    def grew(self) -> list[str]:
        """Counts that are larger than before."""
        return [name for name, (before, after) in self.counts.items() if after > before]

    @property
    def title(self) -> str:
        """Case, and how it was run where it was."""
        case, system, how, network, *_ = self.key
        words = [case, *([system] if system != "mpcinfer" else []), *([how] if how != "counted" else [])]
        return " ".join([*words, *([network] if network and network != how else [])])


def compare(before: Iterable[BenchRecord], after: Iterable[BenchRecord]) -> list[Change]:
    """Every measurement of either side, in the order of the first; of several records of one the newest."""
    old, new = ({key_of(record): record for record in records} for records in (before, after))
    return [_change(key, old.get(key), new.get(key)) for key in {**old, **new}]


def _change(key: Key, old: BenchRecord | None, new: BenchRecord | None) -> Change:
    if old is None or new is None:
        return Change(key=key, counts={}, times={}, said="new" if old is None else "gone")
    if old.failed or new.failed:
        said = "" if old.failed == new.failed else "failed" if new.failed else "failed before"
        return Change(
            key=key, counts={}, times={}, said=f"{said}: {new.failed or old.failed}" if said else ""
        )
    known = [name for name in COUNTS if name in old.bill]  # older records lack some
    pairs = {name: (int(old.bill[name]), int(new.bill.get(name, 0))) for name in known}
    times = {
        name: (Times(tuple(getattr(old, name))), Times(tuple(getattr(new, name))))
        for name in TIMES
        if getattr(old, name) and getattr(new, name)
    }
    return Change(key=key, counts={name: (a, b) for name, (a, b) in pairs.items() if a != b}, times=times)


def described(changes: Sequence[Change]) -> list[str]:
    """What changed, a line each; times of measurements in both files as well."""
    lines: list[str] = []
    for change in changes:
        if change.said:
            lines.append(f"{change.title}: {change.said}")
        for name, (before, after) in change.counts.items():
            way = "GREW" if after > before else "fell"
            lines.append(f"{change.title}: {name} {way} from {before:,} to {after:,} ({after - before:+,})")
        for name, (before, after) in change.times.items():
            ratio = f", x{after.median / before.median:.2f}" if before.median else ""
            lines.append(f"{change.title}: {name} {before} before, {after} after{ratio}")
    return lines


def summary(changes: Sequence[Change]) -> str:
    """One line: how many are equal, grew, fell, are new and gone."""
    both = [change for change in changes if not change.said]
    grew = sum(bool(change.grew) for change in both)
    fell = sum(bool(change.counts) and not change.grew for change in both)
    gone, new = (sum(change.said == word for change in changes) for word in ("gone", "new"))
    equal = sum(not change.counts for change in both)
    return (
        f"counts: {equal} equal, {grew} grew, {fell} fell; {new} only in the second file, {gone} only in the "
        "first"
    )
