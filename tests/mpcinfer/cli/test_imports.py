"""What a command that computes nothing must not wait for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mpcinfer
from parties.kernel_cache import VARIABLE

_SLOW = ("torch", "numba", "llvmlite", "crypten", "zmq", "gguf", "tokenizers", "safetensors")
_PROGRAM = """
import json, sys
from mpcinfer.cli.main import main
sys.argv = ["mpcinfer", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def imported(program: str, *arguments: str, folder: Path | None = None) -> set[str]:
    """The top-level packages that a fresh interpreter has after a program."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=folder)
    return {name.split(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["models"],
        ["models", "--variants"],
        ["list", "models", "--json"],
        ["keys", "new", "server"],
        *([command, "--help"] for command in ("demo", "generate", "chat", "serve", "train", "cost", "list")),
    ],
    ids=" ".join,
)
def test_what_computes_nothing_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    packages = imported(_PROGRAM, *arguments, folder=tmp_path)
    assert "mpcinfer" in packages
    assert packages.isdisjoint(_SLOW)


@pytest.mark.parametrize(
    "arguments", [["cost", "gpt2"], ["list", "protocols"], ["list", "gates"], ["list", "plans"]], ids=" ".join
)
def test_what_was_counted_before_imports_nothing_slow(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "torch" in imported(_PROGRAM, *arguments, folder=tmp_path)
    assert imported(_PROGRAM, *arguments, folder=tmp_path).isdisjoint(_SLOW)


def test_the_package_imports_what_is_asked_for() -> None:
    program = "import json, sys, mpcinfer; {}; print(json.dumps(sorted(sys.modules)))"
    assert imported(program.format("pass")).isdisjoint(_SLOW)
    assert imported(program.format("mpcinfer.zoo()")).isdisjoint(_SLOW)
    assert "torch" in imported(program.format("mpcinfer.ClearModel"))


def test_every_public_name_is_there() -> None:
    assert set(mpcinfer.__all__) <= set(dir(mpcinfer))
    for name in mpcinfer.__all__:
        assert getattr(mpcinfer, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(mpcinfer, "nothing")  # noqa: B009
