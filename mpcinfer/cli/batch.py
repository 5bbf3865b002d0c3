"""Several prompts on the command line, and what is shown of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mpcinfer.cli.texts import asked_text
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError

if TYPE_CHECKING:
    from mpcinfer.answer import Answer


def given(prompts: Sequence[str], file: Path | None) -> list[str]:
    """The prompts of a command line: those that it has, `-` read from standard input, and a file's lines,
    empty ones aside.

    Raises:
        ConfigError: there is none, or the file cannot be read.
    """
    texts = [asked_text(prompt) for prompt in prompts]
    if file is not None:
        texts += [line for line in read_text_file(file).splitlines() if line.strip()]
    if not texts:
        raise ConfigError("say what to complete: a prompt, or --prompts FILE with one a line")
    return texts


def document_of(answer: Answer) -> dict[str, Any]:
    """An answer as plain JSON values."""
    return {
        "text": answer.text,
        "token_ids": list(answer.ids),
        "reason": answer.reason,
        "speculation": None if answer.speculation is None else answer.speculation.to_json(),
    }


def show(prompts: Sequence[str], answers: Sequence[Answer], *, repeat: bool) -> None:
    """Writes answers by number, behind their prompts with `repeat`."""
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), 1):
        typer.echo(f"[{number}] {prompt if repeat else ''}{answer.text}")
