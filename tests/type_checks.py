"""Whatever the packages call in tests is called, and returns, as it is annotated.

jaxtyping's import hook decorates all functions and dataclasses of the packages. Its own decorator is made for
shapes in annotations, of which there are none here, and takes most of the time of short functions: every call
is bound once and checked twice. In its place goes beartype alone.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from typing import Any, get_type_hints

import jaxtyping
from beartype import beartype


def install() -> None:
    """For everything that the hook decorates from now on."""
    jaxtyping.jaxtyped = _decorator  # type: ignore[assignment]


def _decorator(*, typechecker: object) -> Any:
    """What the hook calls; the checker that is named on the command line is the one used here."""
    del typechecker
    return checked


def checked(item: Any) -> Any:
    """A function that checks its arguments and result, or a dataclass whose `__init__` does."""
    if inspect.isclass(item):
        if dataclasses.is_dataclass(item) and "__init__" in vars(item):
            item.__init__ = checked(item.__init__)
        return item
    if not isinstance(item, types.FunctionType):
        return item
    item.__annotations__ = {name: _resolved(hint, item) for name, hint in item.__annotations__.items()}
    return beartype(item)


def _resolved(hint: Any, function: types.FunctionType) -> Any:
    """What an annotation names; anything, where that is imported for type checkers alone or defined later."""
    holder = types.SimpleNamespace(__annotations__={"it": hint})
    try:
        return get_type_hints(holder, function.__globals__, include_extras=True)["it"]
    except Exception:
        return Any
