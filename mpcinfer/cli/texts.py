"""Texts from files, standard input and the command line: UTF-8, or an error of one line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from mpcinfer.text_file import read_text_file, require_text


def asked_text(argument: str) -> str:
    """The prompt of a command line: the argument, or what standard input has where that is `-`.

    Raises:
        ConfigError: it is not UTF-8.
    """
    if argument != "-":
        return _checked(argument)
    text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape").read()
    return _checked(text)


def sample_prompts(path: Path) -> list[str]:
    """The prompts in a text file; blank lines separate them.

    Raises:
        ConfigError: the file cannot be read or is not UTF-8.
    """
    return [part for part in read_text_file(path).split("\n\n") if part.strip()]


def _checked(text: str) -> str:
    require_text(text, "the prompt")
    return text
