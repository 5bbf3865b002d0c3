"""How long a test waits before it takes silence for a hang: the only place that says so.

No test asserts how fast anything is. What must come is waited for until `HANG_S`; where nothing comes, on
purpose and for ever, `SILENCE_S` is enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_STEPS, _REFERENCE_S = 200_000, 0.02  # steps of `_work`, and what they take on a core of 2023
_MOST = 10.0


def _work(steps: int) -> int:
    """Work that takes as long for everybody: no library, no compiled code."""
    number = 1
    for _ in range(steps):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return number


def _slowness() -> float:
    """How many times longer than on the reference something takes here and now, from 1 to `_MOST`.

    Seconds by the clock, so that who has to share its core is slower, times processes a core: what is started
    beside the tests may compete with them all.
    """
    started = time.perf_counter()
    _work(_STEPS)
    seconds = time.perf_counter() - started
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return min(max(seconds / _REFERENCE_S, 1.0) * max(crowd, 1.0), _MOST)


HANG_S = 300.0 * _slowness()
"""The longest silence of a peer or process that works; reached only where something hangs."""
TEST_S = 3 * HANG_S
"""The longest test: a deadline of its own comes first, and says more."""
SILENCE_S = 0.2
"""Enough where nothing will ever come."""


def until(happened: Callable[[], bool]) -> bool:
    """Waits for something that only looking tells; whether it happened before the deadline."""
    deadline = time.monotonic() + HANG_S
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
