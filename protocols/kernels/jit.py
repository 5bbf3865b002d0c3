"""How kernels are compiled: one decorator for loops, one for what is spelled in LLVM's own instructions."""

# numba has types for few of its names.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numba.extending import intrinsic

from parties.compiled import compiled

kernel = compiled
"""Options for functions into which others of this package are inlined, intrinsics included."""


def instruction(function: Callable[..., Any]) -> Any:
    """Makes a numba intrinsic: a function of types that gives a signature and a writer of LLVM code."""
    return intrinsic(inspect.unwrap(function))
