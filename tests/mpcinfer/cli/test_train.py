"""`mpcinfer train` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mpcinfer.cli.train import train
from mpcinfer.models.folder import load_model_folder
from parties.errors import ConfigError

app = typer.Typer(add_completion=False)
app.command()(train)
SMALL = ["--layers", "1", "--width", "16", "--heads", "2", "--vocabulary", "270", "--context", "16"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_teaches() -> None:
    output = run("--help")
    for word in ("--data", "--layers", "--steps", "--resume", "--minutes", "log.jsonl"):
        assert word in output


def test_three_steps_then_more(text: Path) -> None:
    out = text / "small"
    output = run(str(out), "--data", str(text), *SMALL, "--steps", "3", "--batch", "2", "--decay", "0")
    assert "3 steps" in output
    assert load_model_folder(out).config.layers == 1
    assert "5 steps" in run(str(out), "--resume", "--steps", "5")
    steps = [json.loads(line)["step"] for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [0, 1, 2, 3, 4, 5]


def test_minutes_choose_the_steps(text: Path) -> None:
    out = text / "small"
    run(str(out), "--data", str(text), *SMALL, "--minutes", "0.01", "--precision", "float32")
    steps = json.loads((out / "training" / "run.json").read_text())["recipe"]["steps"]
    last = json.loads((out / "training" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "10", "--heads", "4"], "multiple of --heads"),
        (["--steps", "3", "--minutes", "1"], "not both"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_what_does_not_fit_is_refused(text: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(str(text / "small"), "--data", str(text), *arguments)


def test_unknown_precision_is_refused(text: Path) -> None:
    result = CliRunner().invoke(app, [str(text / "small"), "--precision", "float8"])
    assert result.exit_code == 2
    assert "bfloat16" in result.output


def test_resume_refuses_another_shape(text: Path) -> None:
    run(str(text / "small"), "--data", str(text), *SMALL, "--steps", "2", "--batch", "2")
    with pytest.raises(ConfigError, match="model shape differs"):
        run(str(text / "small"), "--resume", "--layers", "2")
