"""`mpcinfer warm`: every kernel compiled ahead."""

from __future__ import annotations

import time


def warm() -> None:
    """Compile every kernel ahead, once, for this user and this processor.

    Private runs compute in loops that are compiled for the processor at hand: half a minute the first time.
    Compiled code is kept in the user's cache folder (MPCINFER_CACHE_DIR moves it), for all virtual
    environments with these sources. Without this command the first private run does the same.
    """
    from mpcinfer.cli.progress import Waiting, announce
    from mpcinfer.roles.progress import Progress, Stage
    from mpcinfer.roles.warm import cache_folder
    from mpcinfer.roles.warm import warm as compile_all

    started, bar = time.perf_counter(), Waiting()
    bar.show(Progress(stage=Stage.COMPILING, done=0, of=0))
    try:
        count = compile_all(lambda done, of: bar.show(Progress(stage=Stage.COMPILING, done=done, of=of)))
    finally:
        bar.close()
    folder = cache_folder()
    kept = f"kept in {folder.path}" if folder.writable else f"not kept: {folder.problem}"
    announce(f"{count} kernels compiled in {time.perf_counter() - started:.0f} s, {kept}")
