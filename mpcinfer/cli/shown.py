"""Quotes paths in printed command lines, so that a shell and this program read them as meant."""

from __future__ import annotations

import shlex
from pathlib import Path

from mpcinfer.models.zoo import zoo


def shown_path(path: Path) -> str:
    """A path as one word of a shell."""
    return shlex.quote(str(path))


def shown_model(folder: Path) -> str:
    """A model's folder as one word of a shell; `./gpt2` where a known model has the bare name."""
    name = str(folder)
    return shlex.quote(f"./{name}" if name in zoo() else name)
