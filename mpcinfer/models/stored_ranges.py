"""Calibrated ranges as files; what their keys mean is told in `mpcinfer.models.ranges`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mpcinfer.models.fields import Fields


def save_ranges(path: Path, ranges: Mapping[str, float]) -> None:
    """Writes ranges as JSON, rounded."""
    path.write_text(json.dumps(rounded_ranges(ranges), indent=1) + "\n", encoding="utf-8")


def rounded_ranges(ranges: Mapping[str, float]) -> dict[str, float]:
    """Five significant digits, greatest rounded up and least rounded down."""
    return {key: _rounded(value, up=not key.endswith("_min")) for key, value in ranges.items()}


def load_ranges(path: Path) -> dict[str, float]:
    """Reads what `save_ranges` wrote.

    Raises:
        ConfigError: the file is missing, is not JSON, or holds something that is no range.
    """
    fields = Fields.of_file(path)
    ranges = {key: fields.number(key) for key in fields.values}
    for key, value in ranges.items():
        if not 0 <= value < float("inf"):
            raise fields.refuse(key, "expected a finite number from 0")
    return ranges


def ranges_beside(path: Path) -> dict[str, float]:
    """Ranges kept with a model: `ranges.json` in its folder, or `NAME.ranges.json` beside `NAME.gguf`.

    Empty where there is no such file; raises ConfigError as `load_ranges` does where there is a bad one.
    """
    file = path / "ranges.json" if path.is_dir() else path.with_suffix(".ranges.json")
    return load_ranges(file) if file.exists() else {}


def _rounded(value: float, *, up: bool) -> float:
    nearest = float(f"{value:.4e}")
    step = 10.0 ** (int(f"{value:.4e}".split("e")[1]) - 4)
    if up and nearest < value:
        return float(f"{nearest + step:.4e}")
    if not up and nearest > value:
        return float(f"{nearest - step:.4e}")
    return nearest
