"""A JSON object from somebody else's file, read field by field with the type that each must have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from parties.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields and the file they came from; every complaint names both. A null field counts as absent."""

    source: str
    values: dict[str, Any]

    @staticmethod
    def of_file(path: Path) -> Fields:
        """Reads a file.

        Raises:
            ConfigError: it is missing, or holds no JSON object.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: expected a JSON object")
        return Fields(str(path), cast("dict[str, Any]", value))

    @staticmethod
    def of_optional_file(path: Path) -> Fields:
        """Reads a file that may be absent: no fields then."""
        return Fields.of_file(path) if path.exists() else Fields(str(path), {})

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; required where there is no default."""
        return self._get(key, default, (int,), "a whole number")

    def number(self, key: str, default: float | None = None) -> float:
        """A number; required where there is no default."""
        return float(self._get(key, default, (int, float), "a number"))

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return self._get(key, default, (bool,), "true or false")

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        return self._get(key, default, (str,), "a text")

    def table(self, key: str) -> dict[str, Any]:
        """An object of further fields; empty where absent."""
        return self._get(key, {}, (dict,), "an object")

    def refuse(self, key: str, reason: str) -> ConfigError:
        """The error for a field whose value we cannot represent."""
        return ConfigError(f"{self.source}: {key} is {self.values.get(key)!r}: {reason}")

    def _get(self, key: str, default: T | None, kinds: tuple[type, ...], expected: str) -> T:
        value: Any = self.values.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"{self.source} has no field {key}, expected {expected}")
            return default
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.refuse(key, f"expected {expected}")
        return cast(T, value)
