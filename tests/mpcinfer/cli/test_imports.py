"""What a command that computes nothing must not wait for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mpcinfer
from parties.kernel_cache import VARIABLE
from tests.deadlines import HANG_S

_SLOW = {"torch", "numba", "llvmlite", "crypten", "zmq", "gguf", "tokenizers", "safetensors"}
_PROGRAM = """
import json, sys
from mpcinfer.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["mpcinfer", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    print("\\n" + json.dumps([arguments, sorted(sys.modules)]))
"""
"""Commands one after another: the first that imports something slow is the one after which it is there."""
COMPUTING_NOTHING = [
    ["--help"],
    ["models"],
    ["models", "--variants"],
    ["list", "models", "--json"],
    ["keys", "new", "server"],
    *([command, "--help"] for command in ("demo", "generate", "chat", "serve", "train", "cost", "list")),
]
COUNTED = [["cost", "gpt2"], ["list", "protocols"], ["list", "gates"], ["list", "plans"]]


def output(program: str, *arguments: str, folder: Path | None = None) -> list[str]:
    """What a fresh interpreter prints that runs a program, line by line."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANG_S, cwd=folder)
    return run.stdout.splitlines()


def packages(names: list[str]) -> set[str]:
    """The top-level packages of modules."""
    return {name.split(".")[0] for name in names}


def after(commands: list[list[str]], folder: Path) -> dict[str, set[str]]:
    """The packages that a fresh interpreter has after each of several commands."""
    lines = output(_PROGRAM, json.dumps(commands), folder=folder)
    found = [json.loads(line) for line in lines if line.startswith("[[")]
    assert [arguments for arguments, _ in found] == commands
    return {" ".join(arguments): packages(names) for arguments, names in found}


def slow(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which commands were left with which slow packages."""
    assert all("mpcinfer" in names for names in found.values())
    return {command: names & _SLOW for command, names in found.items() if names & _SLOW}


def test_what_computes_nothing_imports_nothing_slow(tmp_path: Path) -> None:
    assert slow(after(COMPUTING_NOTHING, tmp_path)) == {}


def test_what_was_counted_before_imports_nothing_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "torch" in after(COUNTED, tmp_path)[" ".join(COUNTED[0])]
    assert slow(after(COUNTED, tmp_path)) == {}


def test_the_package_imports_what_is_asked_for() -> None:
    said = "print(json.dumps(sorted(sys.modules)))"
    asked = f"mpcinfer.zoo(); {said}; mpcinfer.ClearModel; {said}"
    lines = output(f"import json, sys, mpcinfer; {said}; {asked}")
    nothing, zoo, model = (packages(json.loads(line)) for line in lines)
    assert nothing.isdisjoint(_SLOW)
    assert zoo.isdisjoint(_SLOW)
    assert "torch" in model


def test_every_public_name_is_there() -> None:
    assert set(mpcinfer.__all__) <= set(dir(mpcinfer))
    for name in mpcinfer.__all__:
        assert getattr(mpcinfer, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(mpcinfer, "nothing")  # noqa: B009
