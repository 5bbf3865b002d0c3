"""Functions compiled to machine code by numba, which takes 0.2 s to load: imported only where needed."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, made on the first call with arguments of new types.

    It runs without holding Python's lock. The code is kept beside the source or in the user's cache folder,
    so that the next process loads it in milliseconds; where neither can be written, each compiles anew.
    Annotations say what the function takes, and numba ignores them. What an import hook wraps around the
    function to check them is taken off again, as numba cannot compile it. Inside, integers of different signs
    must not meet: numba turns them into floats.
    """
    plain = inspect.unwrap(function)
    try:
        dispatcher = numba.njit(nogil=True, cache=True)(plain)
    except RuntimeError:  # no folder for the cache
        dispatcher = numba.njit(nogil=True)(plain)
    return cast("Callable[P, R]", dispatcher)
