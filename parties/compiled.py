"""Functions compiled to machine code by numba, which takes 0.2 s to load: imported only where needed."""

# numba has types for few of its names.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedBaseClass=false, reportPrivateUsage=false
# pyright: reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import llvmlite
import numba
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.registry import cpu_target

from parties.kernel_cache import KernelFolder, cache_root, digest_of_sources

P = ParamSpec("P")
R = TypeVar("R")

_KERNELS: list[Any] = []


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, made on the first call with arguments of new types.

    It runs without holding Python's lock. The code is kept in the user's cache folder
    (`parties.kernel_cache`), so that the next process loads it in milliseconds, for as long as no source file
    beside the function's or beside this one changes; numba itself looks only at the function's own file, and
    would go on using code into which an older function of another file was inlined.

    Annotations say what the function takes, and numba ignores them. What an import hook wraps around the
    function to check them is taken off again, as numba cannot compile it. Inside, integers of different signs
    must not meet: numba turns them into floats.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    plain = inspect.unwrap(function)
    dispatcher: Any = numba.njit(nogil=True)(plain)
    folder = kernel_folder(Path(inspect.getfile(plain)).parent)
    if folder.path is not None:
        dispatcher._cache = _Cache(plain, folder)
    _KERNELS.append(dispatcher)
    return cast("Callable[P, R]", dispatcher)


@lru_cache(maxsize=16)
def kernel_folder(sources: Path) -> KernelFolder:
    """Where code compiled from a folder of sources is kept.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    made_for = (
        digest_of_sources(sources, Path(__file__).parent),
        sys.implementation.cache_tag,
        numba.__version__,
        llvmlite.__version__,
        cpu_target.target_context.codegen().magic_tuple(),
    )
    return KernelFolder(cache_root(), hashlib.sha256(repr(made_for).encode()).hexdigest()[:16])


def kernels() -> int:
    """How many functions there are to compile, of all modules imported so far."""
    return len(_KERNELS)


def in_use() -> int:
    """How many of them are compiled or loaded in this process."""
    return sum(bool(kernel.overloads) for kernel in _KERNELS)


def times_compiled() -> int:
    """How often this process had to compile, for want of code in the cache."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _KERNELS)


@dataclass(slots=True)
class Compiled:
    """How many functions were compiled."""

    count: int = 0


@contextmanager
def on_compile(tell: Callable[[int, int], None] | None) -> Generator[Compiled]:
    """Counts the functions that are compiled in a block.

    Args:
        tell: is told how many are compiled, and of how many, as far as can be known, when one begins
            to be; from the thread that compiles.
    """
    compiled = Compiled()
    ours = {id(kernel) for kernel in _KERNELS}

    class _Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            if id(event.data["dispatcher"]) in ours:
                compiled.count += 1
                if tell is not None:
                    tell(compiled.count, max(compiled.count, kernels()))

        def on_end(self, event: Any) -> None:
            """Nothing."""

    with event.install_listener("numba:compile", _Listener()):
        yield compiled


class _Files(IndexDataCacheFile):
    """A file for every function and types of arguments, written beside its place and renamed.

    numba's own has an index a function, which two processes that compile at the same time can leave pointing
    from one's types to the other's code.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(str(folder), name, None)
        self._stem = name

    def load(self, key: object) -> Any:
        try:
            return self._load_data(self._file(key))
        except OSError:
            return None

    def save(self, key: object, data: Any) -> None:
        self._save_data(self._file(key), data)

    def flush(self) -> None:
        for path in Path(self._cache_path).glob(f"{self._stem}-*.nbc"):
            path.unlink(missing_ok=True)

    def _file(self, key: object) -> str:
        return f"{self._stem}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"


class _Locator(_CacheLocator):
    """Where `kernel_folder` says."""

    def __init__(self, py_file: str) -> None:
        self._py_file = py_file
        self._folder = kernel_folder(Path(py_file).parent).path

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> None:
        """The folder's name has it."""

    def get_disambiguator(self) -> str:
        return ""


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 # as numba has it


class _Cache(FunctionCache):
    """numba's cache of compiled code, over our files."""

    _impl_class = _Impl

    def __init__(self, function: Callable[..., Any], folder: KernelFolder) -> None:
        super().__init__(function)
        assert folder.path is not None
        self._writable = folder.writable
        self._cache_file = _Files(folder.path, f"{function.__module__}.{function.__qualname__}")

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._writable:
            super().save_overload(sig, data)
