"""Kernels that were never compiled on this machine, compiled before a command goes on, which says so."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mpcinfer.cli.progress import Waiting, announce
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.suites.kernel_mark import cache_folder
from mpcinfer.suites.suite import Suite


def compile_kernels(suites: Iterable[Suite], *, always: bool = False) -> None:
    """Compiles all that suites are missing, with a bar; with `always` even where nothing should be.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    missing = [suite for suite in suites if always or not suite.compiled()]
    if not missing:
        return
    started, bar, count = time.perf_counter(), Waiting(), 0
    bar.show(Progress(stage=Stage.COMPILING, done=0, of=0))
    try:
        for suite in missing:
            count += suite.compile(
                lambda done, of: bar.show(Progress(stage=Stage.COMPILING, done=done, of=of))
            )
    finally:
        bar.close()
    folder = cache_folder()
    kept = f"kept in {folder.path}" if folder.writable else f"not kept: {folder.problem}"
    announce(f"{count} kernels compiled in {time.perf_counter() - started:.0f} s, {kept}")
