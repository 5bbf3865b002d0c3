"""What a process has of the machine's memory, as Linux accounts it, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parties.errors import ConfigError

_KILOBYTE = 1 << 10


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Of a process, or of some of its mappings.

    Attributes:
        resident: all that is in memory; what several processes map, each has whole.
        proportional: likewise, but of what n processes map each has an n-th: summed over processes it is what
            they take together.
        private: what nobody else maps; what ending the process gives back at least.
        written: of that, what it wrote.
        shared: what others map, too.
    """

    resident: int
    proportional: int
    private: int
    written: int
    shared: int

    @classmethod
    def of(cls, pid: int) -> ProcessMemory:
        """All of a process of this user.

        Raises:
            ConfigError: there is none, or the system has no such accounts.
        """
        return cls._summed(_lines(pid, "smaps_rollup"))

    @classmethod
    def of_mapping(cls, pid: int, name: str) -> ProcessMemory:
        """Its mappings of files, or of memory, whose path has `name` in it. Errors as `of`."""
        chosen, wanted = list[str](), False
        for line in _lines(pid, "smaps"):
            if not line.partition(" ")[0].endswith(":"):
                wanted = name in line
            elif wanted:
                chosen.append(line)
        return cls._summed(chosen)

    @classmethod
    def _summed(cls, lines: list[str]) -> ProcessMemory:
        total = dict.fromkeys(
            ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Shared_Clean", "Shared_Dirty"), 0
        )
        for line in lines:
            key, _, value = line.partition(":")
            if key in total:
                total[key] += _KILOBYTE * int(value.split()[0])
        return cls(
            resident=total["Rss"],
            proportional=total["Pss"],
            private=total["Private_Clean"] + total["Private_Dirty"],
            written=total["Private_Dirty"],
            shared=total["Shared_Clean"] + total["Shared_Dirty"],
        )


def _lines(pid: int, account: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{account}").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigError(f"/proc/{pid}/{account} cannot be read: {error.strerror}") from error
