"""A disk without room under the dealer's store, which is on a small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.faults import ledger
from bench.faults.killing import moment_s
from bench.faults.outcome import NotSurvived
from bench.faults.place import Place, place_of
from bench.faults.service import Setting, has_store

_SIZE = "1g"
_FILL = "fill"
_PIECE = bytes(1 << 16)


def why_not() -> str:
    """Why this cannot be tried here."""
    if not has_store():
        return "dealers here keep no store"
    return (
        "" if os.geteuid() == 0 and shutil.which("mount") else "it takes root, to mount a small file system"
    )


@contextmanager
def small_disk(folder: Path, setting: Setting) -> Generator[Place]:
    """A service whose dealer has its store on a file system of `_SIZE`."""
    disk = folder.with_name(f"{folder.name}-disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(disk)], check=True)
    try:
        store = disk / "store"
        store.mkdir(mode=0o700)
        with place_of(folder, replace(setting, store=store)) as place:
            yield place
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    disk.rmdir()


def fill(place: Place, draw: np.random.Generator) -> str:
    """No room from a moment of a session on, for that one and the next; then there is room again."""
    store = place.service.setting.store
    assert store is not None
    before = ledger.used(store)
    command = place.begin()
    time.sleep(moment_s(place, draw))
    full = store.parent / _FILL
    _fill(full)
    try:
        outcome = place.finish(command)
        place.require_session()
    finally:
        full.unlink()
    if outcome != "answered":
        raise NotSurvived(f"a session while the disk got full: {outcome}")
    return f"{outcome}, {'a' if ledger.used(store) > before else 'no'} bundle used"


def _fill(path: Path) -> None:
    """Until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(_PIECE)
        except OSError:
            return
