"""How much memory processes have each for themselves, and how much they share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(Private_\w+|Shared_\w+|Pss):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in memory.

    Attributes:
        private: what ends with the processes, all together.
        shared: what several have, or files have, each part once: the rest of the processes' proportional
            sizes, so that what is shared with others, too, counts by the share.
    """

    private: int
    shared: int


def memory_of(pids: Iterable[int]) -> Memory:
    """What Linux counts for processes of this user; those that are gone, and other systems, count nothing."""
    private = proportional = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        sizes = {name: int(size) << 10 for name, size in _LINE.findall(text)}
        private += sum(size for name, size in sizes.items() if name in ("Private_Clean", "Private_Dirty"))
        proportional += sizes.get("Pss", 0)
    return Memory(private, max(proportional - private, 0))
