"""The program takes what pages, help texts and messages tell people to type; what is cheap is run."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.models.zoo import zoo
from mpcinfer.plans import plan_from, write_plan
from tests.shown_commands import (
    SOME_VALUE,
    RefusedError,
    Shown,
    command_names,
    commands_in,
    parse,
    shown_commands,
    shown_texts,
)

BENCH = r"python -m bench\.\w+"
SHOWN = shown_commands()
TYPED = [each for each in SHOWN if not (each.prose and " ".join(each.words) in command_names())]
"""Lines to type; a command's bare name in a sentence is not one."""
ONLY_AFTER_THE_PAGE = {"gelu=hard"}
"""Protocols that the reader of docs/adding-a-protocol.md has just registered."""


def name(shown: Shown) -> str:
    return f"{shown.where}: {shown.line}"


def whole(shown: Shown) -> bool:
    return "..." not in shown.words


def test_none_is_overlooked() -> None:
    """Wherever the name of a command follows that of the program, some line was collected."""
    mention = re.compile(rf"(?<!docker run )\bmpcinfer ({'|'.join(command_names())})\b")
    for where, text in shown_texts():
        mentioned = set(mention.findall(text))
        assert mentioned <= {each.words[0] for each in SHOWN if each.where == where and each.words}
    assert {"README.md", "docs/training.md", "mpcinfer/cli/train_run.py"} <= {each.where for each in TYPED}
    assert {each.words[0] for each in TYPED} >= {command.split()[0] for command in command_names()}


def test_lines_are_cut_out_of_their_texts() -> None:
    text = """
See `mpcinfer
list`.

```python
mpcinfer.x
```
then

```sh
mpcinfer a b  # remark
echo | mpcinfer c \\
    --d
```

    mpcinfer e 'f g'   remark

try: mpcinfer h
make some (mpcinfer i j)
mpcinfer needs
"""
    assert list(commands_in(text)) == [
        ("mpcinfer list", True),
        ("mpcinfer a b", False),
        ("mpcinfer c --d", False),
        ("mpcinfer e 'f g'", False),
        ("mpcinfer h", False),
        ("mpcinfer i j", True),
    ]


@pytest.mark.parametrize("shown", [each for each in TYPED if whole(each)], ids=name)
def test_a_shown_command_is_one_the_program_takes(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()  # what has to exist at once, by the name that stands for it
    given = parse(shown.words)
    choices = [choice for choice in given.get("choices") or [] if choice not in ONLY_AFTER_THE_PAGE]
    if given.get("plan") not in (None, "PLAN", "plan.json"):  # a file that `mpcinfer plan` writes
        plan_from(given["plan"], choices)
    models = {given[key] for key in ("model", "start_from") if isinstance(given.get(key), str)}
    assert models <= {*zoo(), *made_before(), "MODEL", "MODEL_OR_RUN", SOME_VALUE}


def made_before() -> set[str]:
    """Model folders that a shown `mpcinfer train` makes."""
    return {each.words[1] for each in SHOWN if each.words[:1] == ["train"] and len(each.words) > 1}


@pytest.mark.parametrize(
    "line", ["generate --local run1 x", "serve", "nothing", "cost gpt2 --tokens many", "models --nothing"]
)
def test_what_the_program_refuses_is_noticed(line: str) -> None:
    with pytest.raises(RefusedError):
        parse(line.split())


def cheap(shown: Shown) -> bool:
    """Needs no other process, no other model, and a few seconds at most."""
    words = shown.words
    if words[0] == "generate":
        return "--model" not in words and "plain" in words
    return words[0] in ("models", "list", "cost") or words[-1] == "--help"


def lines(*, private: bool = False) -> list[str]:
    """Distinct lines to run: of those without a word that stands for a name."""
    found = [each for each in TYPED if whole(each) and not re.search(r" [A-Z_]+\b", each.line)]
    chosen = (
        [each for each in found if each.words[0] == "generate" and "private" in each.words]
        if private
        else [each for each in found if cheap(each)]
    )
    return sorted({each.line for each in chosen if not ONLY_AFTER_THE_PAGE & set(each.words)})


@pytest.mark.long
@pytest.mark.parametrize("line", lines())
def test_a_cheap_command_runs(line: str) -> None:
    result = CliRunner().invoke(app, Shown("", line, prose=False).words, prog_name="mpcinfer")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("line", lines(private=True))
def test_a_private_answer_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path / "plan.json", plan_from("fss"))  # as `mpcinfer plan` does
    words = [*Shown("", line, prose=False).words, "--tokens", "2"]  # 24 by default
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()


class Parsed(Exception):
    """The arguments were taken, and nothing has run yet."""


@pytest.mark.parametrize("shown", [s for s in shown_commands(BENCH) if "$" not in s.line], ids=name)
def test_a_shown_benchmark_is_one_that_there_is(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *words = shown.words[1:]
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    if shown.prose and not words:
        return
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *arguments: Any) -> None:
        raise Parsed(parse_args(self, *arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(Parsed):
        found.main()
