"""CrypTen's configuration, one for each thread and without a YAML library on every look-up."""

from __future__ import annotations

import copy
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast


class Settings(threading.local):
    """The calling thread's configuration; every thread starts from CrypTen's defaults."""

    def __init__(self, defaults: Mapping[str, object]) -> None:
        self.current = _namespace(copy.deepcopy(dict(defaults)))

    def set(self, name: str, value: object) -> object:
        """Sets a dotted name; returns what it was."""
        *path, last = name.split(".")
        place: Any = self.current
        for part in path:
            place = getattr(place, part)
        before = getattr(place, last)
        setattr(place, last, value)
        return before

    @contextmanager
    def override(self, values: Mapping[str, object]) -> Generator[None]:
        """Other values while inside."""
        before = {name: self.set(name, value) for name, value in values.items()}
        try:
            yield
        finally:
            for name, value in before.items():
                self.set(name, value)


def _namespace(values: Mapping[str, object]) -> SimpleNamespace:
    nested = {
        name: _namespace(cast(dict[str, object], value)) if isinstance(value, dict) else value
        for name, value in values.items()
    }
    return SimpleNamespace(**nested)
