"""Texts from files, standard input and the command line: UTF-8, or an error of one line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from parties.errors import ConfigError


def asked_text(argument: str) -> str:
    """The prompt of a command line: the argument, or what standard input has where that is `-`.

    Raises:
        ConfigError: it is not UTF-8.
    """
    if argument != "-":
        return _checked(argument, "the prompt")
    text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape").read()
    return _checked(text, "the prompt")


def sample_prompts(path: Path) -> list[str]:
    """The prompts in a text file; blank lines separate them.

    Raises:
        ConfigError: the file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return [part for part in _checked(text, str(path)).split("\n\n") if part.strip()]


def _checked(text: str, what: str) -> str:
    from mpcinfer.prompts import require_text

    require_text(text, what)
    return text
