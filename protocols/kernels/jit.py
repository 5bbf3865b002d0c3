"""How kernels are compiled: one decorator for loops, one for what is spelled in LLVM's own instructions."""

# numba has types for few of its names.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba.core.caching import FunctionCache
from numba.extending import intrinsic

from parties.compiled import compiled

P = ParamSpec("P")
R = TypeVar("R")


@lru_cache(maxsize=1)
def _digest_of_sources() -> str:
    """A digest of every source file of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Cache(FunctionCache):
    """numba's cache of compiled code, valid as long as no kernel source has changed.

    numba itself looks only at the file of the function, and would go on using code into which an older
    function of another file was inlined.
    """

    def _index_key(self, sig, codegen):
        sig, target, code = super()._index_key(sig, codegen)
        return sig, (target, _digest_of_sources()), code


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """As `parties.compiled.compiled`, for functions into which others of this package are inlined."""
    dispatcher: Any = compiled(function)
    with contextlib.suppress(RuntimeError):  # no folder for the cache: every process compiles
        dispatcher._cache = _Cache(inspect.unwrap(function))
    return dispatcher


def instruction(function: Callable[..., Any]) -> Any:
    """Makes a numba intrinsic: a function of types that gives a signature and a writer of LLVM code."""
    return intrinsic(inspect.unwrap(function))
