"""How Sentence Transformers folders pool the rows of an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from mpcinfer.models.config import Pooling
from mpcinfer.models.fields import Fields
from parties.errors import ConfigError

_MODULES = ("Transformer", "Pooling", "Normalize")


def pooling_of(folder: Path) -> Pooling:
    """What `1_Pooling/config.json` says; the mean where there is none.

    Raises:
        ConfigError: another kind of pooling, or modules after it that we do not have.
    """
    _require_modules(folder / "modules.json")
    fields = Fields.of_optional_file(folder / "1_Pooling" / "config.json")
    chosen = [key for key in fields.values if key.startswith("pooling_mode_") and fields.flag(key, False)]
    if chosen in ([], ["pooling_mode_mean_tokens"]):
        return "mean"
    if chosen == ["pooling_mode_cls_token"]:
        return "first"
    raise ConfigError(f"{fields.source}: {', '.join(chosen)}: expected the mean or the first token alone")


def _require_modules(path: Path) -> None:
    if not path.is_file():
        return
    try:
        modules = cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: expected a list of modules with types: {error}") from error
    if other := [kind for kind in kinds if kind not in _MODULES]:
        raise ConfigError(f"{path}: {other[0]} is not supported, only {', '.join(_MODULES)}")
