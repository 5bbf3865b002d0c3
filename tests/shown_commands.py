"""Every command line that a page, a help text or a message shows, and whether the program takes it."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("mpcinfer", "protocols", "parties", "bench")
PROGRAM = r"mpcinfer (?=[a-z-])"
SOME_VALUE = "7"
"""What stands for a value that a message puts in: a number, a name and a path."""
_NUMBERS = {"N": "4", "A": "2", "F": "0.5", "T": "8", "TOKENS": "8"}


class RefusedError(Exception):
    """The program does not take a command line."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A command line as somebody reads it.

    Attributes:
        where: the file that shows it.
        line: the words, from `mpcinfer` on.
        prose: it stands in a sentence: a command alone is the command's name there, not a line to type.
    """

    where: str
    line: str
    prose: bool

    @property
    def words(self) -> list[str]:
        """The arguments, with numbers for the letters that stand for them."""
        return [_NUMBERS.get(word, word) for word in shlex.split(self.line)[1:]]


def shown_commands(program: str = PROGRAM) -> list[Shown]:
    """What pages and sources show, each line once a file."""
    found = [
        Shown(where, line, prose)
        for where, text in shown_texts()
        for line, prose in commands_in(text, program)
    ]
    return list(dict.fromkeys(found))


def shown_texts() -> list[tuple[str, str]]:
    """Pages and strings of sources, with the file each is from."""
    return [*_pages(), *_strings()]


def commands_in(text: str, program: str = PROGRAM) -> Iterator[tuple[str, bool]]:
    """The command lines in a text, and whether they stand in a sentence."""
    text = re.sub(r"\s*\\\n\s*", " ", text)
    wrapped = program.replace(" ", r"\s+")
    for match in re.finditer(rf"`(?:\.venv/bin/)?({wrapped}[^`]*)`", text):
        yield " ".join(match[1].split()), True
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks = [inside for language, inside in fences if language in ("", "sh", "console", "toml")]
    blocks += re.findall(r"^(?:    | *(?:#|\$|RUN) |\t).*$", text, re.MULTILINE)
    before = r'(?:[ \t#$]|RUN |do |\$\(BIN\)/|"\$python" -m |[^`\n]*[|;] )*'
    for match in re.finditer(rf"^{before}({program}.*)$", "\n".join(blocks), re.MULTILINE):
        yield re.split(r"\s{2,}|\s+#|;| &&? ?", match[1])[0].strip(), False
    for match in re.finditer(rf": ({program}[^`\n;]*)$", text, re.MULTILINE):
        yield match[1].strip(), False
    for match in re.finditer(rf"\(({program}[^`)\n]*)\)", text):
        yield match[1].strip(), True


def _pages() -> Iterator[tuple[str, str]]:
    patterns = ("*.md", "docs/**/*.md", "examples/**/*", "mpcinfer/**/*.md", "*file", "*.yml")
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}):
        if path.suffix in (".md", ".yml", ".sh", ".ipynb", ".py", ""):
            text = path.read_text(encoding="utf-8")
            yield str(path.relative_to(ROOT)), f"```sh\n{text}\n```" if path.suffix == ".sh" else text


def _strings() -> Iterator[tuple[str, str]]:
    """Every string of the sources, docstrings and help texts among them; values put in are `SOME_VALUE`."""
    for path in (path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        where = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = list(ast.walk(tree))
        inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else SOME_VALUE for p in node.values]
                yield where, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield where, inspect.cleandoc(node.value)


def parse(arguments: list[str]) -> dict[str, Any]:
    """A command line's parameters, without running it; raises where the program would refuse it."""
    from mpcinfer.cli.main import app

    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        if name not in command.commands:
            raise RefusedError(f"no command {name}")
        command = command.commands[name]
    try:
        return command.make_context(command.name, list(arguments)).params
    except Exception as error:
        if getattr(error, "exit_code", None) == 0:  # --help
            return {}
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def is_command(words: list[str]) -> bool:
    """Whether the words are a command's name and no more: `list`, `keys new`."""
    return " ".join(words) in command_names()


def command_names() -> list[str]:
    """All commands and their groups: `demo`, `list`, `list plans`."""
    from mpcinfer.cli.main import app

    def below(command: Any, path: str) -> Iterator[str]:
        for name, each in getattr(command, "commands", {}).items():
            yield f"{path}{name}"
            yield from below(each, f"{path}{name} ")

    return list(below(typer.main.get_command(app), ""))
