"""How much memory processes have each for themselves, and how much they share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from mpcinfer.service.process_memory import ProcessMemory
from parties.errors import ConfigError


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
        with suppress(ConfigError):
            found = ProcessMemory.of(pid)
            private, proportional = private + found.private, proportional + found.proportional
    return Memory(private, max(proportional - private, 0))
