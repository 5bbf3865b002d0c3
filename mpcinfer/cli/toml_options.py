"""`--config FILE`: a command's options from a TOML file, each key an option of the same name."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from parties.errors import ConfigError

_OPTION_NAMES = {"start_from": "from"}  # parameters that cannot have their option's name
_KIND_NAMES: dict[object, str] = {Path: "a path", str: "text", int: "a whole number", float: "a number"}


def toml_options(path: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a file, as the command line would give them.

    Args:
        path: a key is an option's name without dashes in front, `_` as good as `-` inside; an argument counts
            as an option. A table becomes a list of `name=value`, for options that may be repeated.
        kinds: the command's options and their types.

    Raises:
        ConfigError: no such file, no TOML, a key that is no option, or a value of another type.
    """
    content = read_toml(path)
    known = {_OPTION_NAMES.get(name, name): name for name in kinds}
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: {key} is no option of this command; {hint}")
        found[known[name]] = toml_value(f"{path}: {key}", value, kinds[known[name]])
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """What a file says; raises ConfigError where there is none, or no TOML in it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def toml_value(where: str, value: object, kind: Any) -> Any:
    """A value as an option of a type takes it.

    Raises:
        ConfigError: its type does not fit; the message begins with `where`.
    """
    if get_origin(kind) is list:
        return _texts(where, value)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return value if value in choices else _refuse(where, f"one of {', '.join(choices)}", value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        choices = [each.value for each in kind]
        return value if value in choices else _refuse(where, f"one of {', '.join(choices)}", value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    return value if fits else _refuse(where, _KIND_NAMES.get(cast("object", kind), "true or false"), value)


def _texts(where: str, value: object) -> list[str]:
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return [f"{name}={_text(entry)}" for name, entry in table.items()]
    entries: list[object] = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = [entry for entry in entries if isinstance(entry, str)]
    return texts if len(texts) == len(entries) else _refuse(where, "a table", entries)


def _refuse(where: str, expected: str, value: object) -> Any:
    raise ConfigError(f"{where}: expected {expected}, got {value!r}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
