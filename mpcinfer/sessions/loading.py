"""Weights that are read while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Loading(Mapping[str, T]):
    """A mapping that a thread of its own makes; whoever looks into it waits, or gets the thread's error.

    Args:
        load: makes it.
    """

    def __init__(self, load: Callable[[], Mapping[str, T]]) -> None:
        self._made: Future[Mapping[str, T]] = Future()

        def run() -> None:
            try:
                self._made.set_result(load())
            except BaseException as error:
                self._made.set_exception(error)

        threading.Thread(target=run, daemon=True).start()

    def __getitem__(self, name: str) -> T:
        return self._made.result()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made.result())

    def __len__(self) -> int:
        return len(self._made.result())
