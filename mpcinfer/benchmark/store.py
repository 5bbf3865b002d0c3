"""A file of records that is added to, line by line: what is there is not run again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.record import BenchRecord, read_records
from parties.errors import ConfigError

Key = tuple[str, str, str, str, float | None, float]
"""Case, system, how, and the network's name, bandwidth and latency."""


def key_of(record: BenchRecord) -> Key:
    """What makes two records the same measurement."""
    network = (record.network, record.bandwidth, record.latency)
    return (record.case, record.system, record.how, *network)


def wanted_key(case: str, how: str, network: Network) -> Key:
    """Of a record that is to be made."""
    bandwidth = network.bandwidth if network.bytes_per_s is not None else None
    return (case, "mpcinfer", how, network.name, bandwidth, network.latency)


class Store:
    """Records in a file.

    A run that was killed while it wrote leaves the start of a line, which is cut off here. Every record is on
    disk before the next case begins.

    Args:
        path: of the file; it need not be there yet.

    Attributes:
        torn: whether the start of a line was cut off.

    Raises:
        ConfigError: the file cannot be read or written, or a line in its middle is no record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.torn = _mend(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        records = list(read_records([path])) if path.exists() else []
        self._known = {key_of(record): record for record in records}

    def find(self, key: Key) -> BenchRecord | None:
        """The newest record of a measurement."""
        return self._known.get(key)

    def add(self, record: BenchRecord) -> None:
        """Writes one line, all of it or, if this process is killed, a part that the next one cuts off."""
        try:
            with self._path.open("ab") as file:
                file.write(record.to_line().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None
        self._known[key_of(record)] = record


def _mend(path: Path) -> bool:
    """Makes the file end with a whole line; whether something had to be cut off."""
    if not path.exists():
        return False
    with path.open("r+b") as file:
        data = file.read()
        whole, newline, tail = data.rpartition(b"\n")
        if not tail:
            return False
        try:
            json.loads(tail)
        except ValueError:
            file.truncate(len(whole) + len(newline))
            return True
        file.write(b"\n")
        return False
