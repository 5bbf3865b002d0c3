"""Jumps of the wall clock, by a day and back, in the middle of sessions and between them.

The service's processes see a clock that a preloaded library shifts (`clock_shim.c`); nobody else does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.faults.killing import moment_s
from bench.faults.outcome import NotSurvived
from bench.faults.place import Place, place_of
from bench.faults.service import Setting

DAY_S = 86_400
_SHIFT, _LIBRARY = "shift", "clock_shim.so"
_SOURCE = Path(__file__).with_name("clock_shim.c")


@lru_cache(maxsize=1)
def why_not() -> str:
    """Why this cannot be tried here."""
    return "" if shutil.which("cc") and sys.platform == "linux" else "it takes Linux and a C compiler"


@contextmanager
def shifted_place(folder: Path, setting: Setting) -> Generator[Place]:
    """A service whose wall clock can be set: see `set_clock`."""
    beside = folder.with_name(f"{folder.name}-clock")
    beside.mkdir()
    shim, shift = beside / _LIBRARY, beside / _SHIFT
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(_SOURCE)], check=True)
    shift.write_bytes(bytes(8))
    shifted = {"LD_PRELOAD": str(shim), "CLOCK_SHIM_FILE": str(shift)}
    _require_shifts(shift, shifted)
    with place_of(folder, replace(setting, environment={**setting.environment, **shifted})) as place:
        yield place
    shutil.rmtree(beside)


def set_clock(shift: Path, seconds: int) -> None:
    """How far the clock is off from now on."""
    with shift.open("r+b") as file:
        file.write(seconds.to_bytes(8, "little", signed=True))


def jump(place: Place, draw: np.random.Generator) -> str:
    """A day forward or back in the middle of a session; a session; the same way back while nothing runs."""
    shift = Path(place.service.setting.environment["CLOCK_SHIM_FILE"])
    seconds = DAY_S if int(draw.integers(2)) else -DAY_S
    command = place.begin()
    time.sleep(moment_s(place, draw))
    set_clock(shift, seconds)
    outcome = place.finish(command)
    place.require_session()
    set_clock(shift, 0)
    if outcome != "answered":
        raise NotSurvived(f"a session with a jump of the clock: {outcome}")
    return f"{seconds // DAY_S:+d} day: {outcome}"


def _require_shifts(shift: Path, environment: dict[str, str]) -> None:
    """The library does what it is for.

    Raises:
        NotSurvived: it does not.
    """
    set_clock(shift, DAY_S)
    asked = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    said = subprocess.run(
        asked, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    ).stdout.split()
    set_clock(shift, 0)
    if abs(float(said[0]) - time.time() - DAY_S) > 600 or abs(float(said[1]) - time.monotonic()) > 600:
        raise NotSurvived(f"the clock was not shifted: {said}")
