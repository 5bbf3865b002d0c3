"""What became of bad input: counted by the error's name, and everything that must not happen kept."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.fuzz.mutations import Message
from parties.errors import MpcInferError

MOST_GROWN_BYTES = 64 << 20
MOST_LETTERS = 1000
MOST_SECONDS = 20.0
"""Of one frame, on a machine that does other things besides."""
ACCEPTED = "accepted"
_LOOK_EVERY = 256
_SHOWN_BYTES = 8


class Unsound(Exception):
    """What was accepted is not what may be."""


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process, this one by default, that is not swapped out."""
    pages = Path(f"/proc/{pid or os.getpid()}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True, eq=False)
class Outcomes:
    """Counts of a campaign in this process, and what must not happen.

    Attributes:
        seed: of the campaign; frame `i` is drawn from it and from `i` alone.
        counts: by what was fuzzed and what it ended with.
        ways: how often a message was changed in which way.
        found: what broke the rules, in words, each with the number of its frame.
        before_bytes, after_bytes, most_bytes: memory of this process.
        slowest_s: of all frames.
    """

    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    ways: Counter[str] = field(default_factory=Counter[str])
    found: list[str] = field(default_factory=list[str])
    before_bytes: int = field(default_factory=resident_bytes)
    after_bytes: int = 0
    most_bytes: int = 0
    slowest_s: float = 0.0
    _frames: int = 0

    def judge(self, what: str, number: int, message: Message, run: Callable[[], object]) -> None:
        """Runs what reads a message, and counts what comes of it.

        Args:
            what: is fuzzed.
            number: of the frame.
            message: what came last; no error may quote its payload.
            run: returns where the message was accepted; raises `Unsound` where it should not have been.
        """
        started = time.perf_counter()
        try:
            run()
            name = ACCEPTED
        except MpcInferError as error:
            name = type(error).__name__
            self._require_message(what, number, message, str(error))
        except BaseException as error:
            name = f"BUG {type(error).__name__}"
            where = "".join(traceback.format_exception(error)[-3:])
            self.found.append(f"{what}, frame {number}: {where}"[:3000])
        seconds = time.perf_counter() - started
        if seconds > MOST_SECONDS:
            self.found.append(f"{what}, frame {number}: took {seconds:.1f} s")
        self.slowest_s = max(self.slowest_s, seconds)
        self.counts[what, name] += 1
        self._frames += 1
        if self._frames % _LOOK_EVERY == 0:
            self.most_bytes = max(self.most_bytes, resident_bytes())

    def _require_message(self, what: str, number: int, message: Message, said: str) -> None:
        if len(said) >= MOST_LETTERS or not said.isprintable():
            self.found.append(f"{what}, frame {number}: a message of {len(said)} letters: {said[:80]!r}")
        for part in message[1:]:
            start = bytes(part[:_SHOWN_BYTES])
            if len(start) == _SHOWN_BYTES and (start.hex() in said or repr(start)[2:-1] in said):
                self.found.append(f"{what}, frame {number}: the message quotes a payload: {said[:80]!r}")

    def end(self) -> None:
        """Looks at memory for the last time."""
        self.after_bytes = resident_bytes()
        self.most_bytes = max(self.most_bytes, self.after_bytes)
        if self.most_bytes - self.before_bytes >= MOST_GROWN_BYTES:
            self.found.append(f"memory grew by {(self.most_bytes - self.before_bytes) / 1e6:.0f} MB")

    def document(self) -> dict[str, Any]:
        """What a record keeps."""
        return {
            "seed": self.seed,
            "frames": sum(self.ways.values()),
            "ways": dict(self.ways.most_common()),
            "outcomes": by_name(self.counts),
            "memory_before": self.before_bytes,
            "memory_after": self.after_bytes,
            "memory_most": self.most_bytes,
            "slowest_s": round(self.slowest_s, 3),
            "found": self.found,
        }


def by_name(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Counts, most frequent first, by what was fuzzed."""
    result: dict[str, dict[str, int]] = {}
    for (what, name), count in sorted(counts.items(), key=lambda each: (each[0][0], -each[1])):
        result.setdefault(what, {})[name] = count
    return result


def lines(document: dict[str, Any]) -> Sequence[str]:
    """A campaign for people."""
    said = [f"  {what}: {_names(names)}" for what, names in document.get("outcomes", {}).items()]
    said += [
        f"  {key}: {_names(document[key])}"
        for key in ("ended_at_server", "ended_at_dealer")
        if key in document
    ]
    said += [
        f"  {key}: {document[key]}"
        for key in ("frames", "honest_sessions", "memory_before", "memory_after", "memory_most", "slowest_s")
        if key in document
    ]
    found = document["found"]
    return [*said, f"  {len(found)} findings", *(f"  FOUND {each}" for each in found[:20])]


def _names(names: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in names.items())
