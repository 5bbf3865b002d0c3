"""`mpcinfer warm`: every kernel compiled ahead."""

from __future__ import annotations


def warm() -> None:
    """Compile every kernel ahead, once, for this user and this processor.

    Private runs compute in loops that are compiled for the processor at hand: half a minute the first time.
    Compiled code is kept in the user's cache folder (MPCINFER_CACHE_DIR moves it), for all virtual
    environments with these sources. Without this command the first private run does the same.
    """
    from mpcinfer.cli.kernels import compile_kernels
    from mpcinfer.suites.registry import SUITES

    compile_kernels(SUITES.values(), always=True)
