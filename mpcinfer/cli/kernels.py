"""Kernels that were never compiled on this machine, compiled before a command goes on, which says so."""

from __future__ import annotations

import time

from mpcinfer.cli.progress import Waiting, announce
from mpcinfer.roles.kernel_mark import is_warm
from mpcinfer.roles.progress import Progress, Stage


def compile_kernels(*, always: bool = False) -> None:
    """Compiles all that is missing, with a bar; with `always` even where nothing should be.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    if is_warm() and not always:
        return
    from mpcinfer.roles.warm import cache_folder, warm

    started, bar = time.perf_counter(), Waiting()
    bar.show(Progress(stage=Stage.COMPILING, done=0, of=0))
    try:
        count = warm(lambda done, of: bar.show(Progress(stage=Stage.COMPILING, done=done, of=of)))
    finally:
        bar.close()
    folder = cache_folder()
    kept = f"kept in {folder.path}" if folder.writable else f"not kept: {folder.problem}"
    announce(f"{count} kernels compiled in {time.perf_counter() - started:.0f} s, {kept}")
