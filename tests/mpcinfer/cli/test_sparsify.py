"""`mpcinfer sparsify`: a table, a file, and errors of one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.costs import cost
from mpcinfer.models.load import load_config
from parties.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_patterns_are_fitted_printed_and_written(tmp_path: Path) -> None:
    out = tmp_path / "sparse.json"
    arguments = ["tiny-python", "--text", str(ROOT / "SECURITY.md"), "--out", str(out), "--lengths", "16,64"]
    result = CliRunner().invoke(app, ["sparsify", *arguments, "--error", "0.2"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "C, mean" in result.stdout
    assert "scores are left" in result.stdout
    config = load_config(out)
    assert [len(layer) for layer in config.patterns] == [config.heads] * config.layers
    few, every = (cost(model, tokens=64).total for model in (str(out), "tiny-python"))
    assert few.online_bytes_to_client < every.online_bytes_to_client


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--error", "1.5", "above 0 and below 1"),
        ("--lengths", "16,x", "whole numbers"),
        ("--lengths", "64", "two or more"),
        ("--out", "sparse.txt", ".json"),
        ("--text", "no-such-file.txt", "cannot be read"),
    ],
)
def test_what_it_cannot_do_is_said_before_it_measures(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    given = {"--text": str(ROOT / "SECURITY.md"), "--out": str(tmp_path / "sparse.json"), option: value}
    arguments = [part for pair in given.items() for part in pair]
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["sparsify", "tiny-python", *arguments], catch_exceptions=False)
