"""Values of plain JSON against the annotated types of a dataclass: they may come from a peer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from parties.errors import ConfigError

T = TypeVar("T")
MOST_ENTRIES = 1 << 12
"""Of a list: of a number a layer, or a number a coordinate of a head."""


def require_types(kind: type, fields: Mapping[str, Any], what: str) -> None:
    """Whether every field that is there has the type that its dataclass says.

    Args:
        kind: a dataclass whose fields are `bool`, `int`, `float`, a `Literal` of texts, or tuples of numbers,
            of tuples, or of such dataclasses; tuples are lists in JSON, and dataclasses are objects.
        what: is named in the error.

    Raises:
        ConfigError: a field has another type, is no finite number, or none of the texts.
    """
    for name, hint in _hints(kind).items():
        if name in fields and not _fits(fields[name], hint):
            raise ConfigError(f"{what}: {name} is {str(fields[name])[:40]!r}, expected {_said(hint)}")


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is tuple:
        entry = get_args(hint)[0]
        entries = cast("Sequence[object]", value) if isinstance(value, list | tuple) else None
        return entries is not None and len(entries) <= MOST_ENTRIES and all(_fits(e, entry) for e in entries)
    if dataclasses.is_dataclass(hint):
        hints = _hints(cast("type", hint))
        known = cast("Mapping[str, object]", value) if isinstance(value, dict) else dict[str, object]()
        return set(known) == set(hints) and all(_fits(known[name], each) for name, each in hints.items())
    if hint is float:
        return is_finite(value)
    return type(value) is hint


def is_finite(value: object) -> bool:
    """Whether a plain value is a number that a float can hold; JSON's whole numbers may be longer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _said(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        return f"a list of at most {MOST_ENTRIES} {_entries_said(get_args(hint)[0])}"
    return {bool: "true or false", int: "a whole number", float: "a finite number"}[hint]


def _entries_said(entry: Any) -> str:
    if get_origin(entry) is tuple:
        return "lists"
    if dataclasses.is_dataclass(entry):
        return f"objects of {', '.join(_hints(cast('type', entry)))}"
    return "numbers"


def plain_fields(value: Any) -> dict[str, Any]:
    """A dataclass's fields as plain JSON has them: tuples are lists."""
    return {name: _listed(each) for name, each in dataclasses.asdict(value).items()}


def of_plain_fields(kind: type[T], fields: dict[str, Any], what: str) -> T:
    """A dataclass from `plain_fields`' form.

    Raises:
        ConfigError: a field that is unknown, missing, or of another type than it should be.
    """
    unknown = set(fields) - set(_hints(kind))
    if unknown:
        raise ConfigError(f"unknown {what} fields: {sorted(unknown)}")
    require_types(kind, fields, what)
    try:
        return kind(**{name: _of_plain(each, _hints(kind)[name]) for name, each in fields.items()})
    except TypeError as error:
        raise ConfigError(f"incomplete {what}: {error}") from error


def _listed(value: object) -> object:
    if isinstance(value, tuple):
        return [_listed(each) for each in cast("tuple[object, ...]", value)]
    return value


def _of_plain(value: object, hint: Any) -> object:
    """A field of a checked form."""
    if isinstance(value, list):
        return tuple(_of_plain(each, get_args(hint)[0]) for each in cast("list[object]", value))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return cast("type", hint)(**value)
    return value
