"""`mpcinfer entropy` as a user types it."""

from __future__ import annotations

import csv
import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from mpcinfer.cli.entropy import entropy
from mpcinfer.entropy.measure import causal_bound
from mpcinfer.entropy.report import write_report
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.losses import measured_entropies
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.train import Trained, train
from parties.errors import ConfigError

app = typer.Typer(add_completion=False)
app.command()(entropy)
CONFIG = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=270, context=16
)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def text_in(folder: Path) -> Path:
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("entropy")
    data = text_in(folder / "data")
    recipe = Recipe(steps=4, batch=2, warmup=0, precision="float32")
    return folder / "small", train(CONFIG, recipe, data, folder / "small", every=2, entropy_every=2)


def test_a_run_gives_tables_pictures_and_curves(tmp_path: Path, trained: tuple[Path, Trained]) -> None:
    folder, result = trained
    output = run(str(folder), "--out", str(tmp_path / "plots"), "--windows", "16")
    assert "entropic overload" in output  # four steps leave the first, uniform attention
    heads = rows(tmp_path / "plots" / "heads.csv")
    assert [(row["layer"], row["head"]) for row in heads] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    for row in heads:
        expected = float(result.entropies.entropy[int(row["layer"]), int(row["head"])])
        # The folder holds float16 weights: relative errors of 2^-11, of scores far below 1.
        assert float(row["entropy"]) == pytest.approx(expected, rel=2**-11)
        assert float(row["of_bound"]) == pytest.approx(expected / causal_bound(16), rel=2**-11)
    assert max(float(row["of_largest"]) for row in heads) == 1
    shares = {row["bin"]: float(row["share"]) for row in rows(tmp_path / "plots" / "bins.csv")}
    assert shares["3/4 to largest"] == shares["entropic overload"] == 1
    assert shares["NaN"] == shares["entropy collapse"] == 0
    assert [row["step"] for row in rows(tmp_path / "plots" / "curves.csv")] == ["0", "0", "2", "2", "4", "4"]
    for name in ("heatmap.png", "bars.png", "curves.png"):
        assert (tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG")
        assert name in output.replace("\n", " ")


def test_nothing_is_written_without_a_folder_and_no_pictures_where_not_wanted(
    tmp_path: Path, trained: tuple[Path, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained
    monkeypatch.chdir(tmp_path)
    assert "mean entropy" in run(str(folder))
    assert not list(tmp_path.iterdir())
    run(str(folder), "--out", "tables", "--no-pictures")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "bins.csv",
        "curves.csv",
        "heads.csv",
        "spectra.csv",
    ]


def test_a_file_a_folder_and_another_run_are_text_too(tmp_path: Path, trained: tuple[Path, Trained]) -> None:
    folder, _ = trained
    data = text_in(tmp_path / "data")
    whole = run(str(folder), "--data", str(data / "0.txt"), "--tokens", "8")
    assert f"at most {causal_bound(8):.3f}" in whole
    assert "mean entropy" in run(str(folder), "--data", str(data))
    assert run(str(folder), "--data", str(folder)) == run(str(folder))
    train(CONFIG, Recipe(steps=1, batch=2), folder, tmp_path / "second")  # on the first run's tokens
    assert "mean entropy" in run(str(tmp_path / "second"))


def test_what_does_not_fit_is_refused(tmp_path: Path, trained: tuple[Path, Trained]) -> None:
    folder, _ = trained
    with pytest.raises(ConfigError, match="do not fit the context"):
        run(str(folder), "--tokens", "17")
    (tmp_path / "short.txt").write_text("a")
    with pytest.raises(ConfigError, match="too few"):
        run(str(folder), "--data", str(tmp_path / "short.txt"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        run("tiny-python", "--data", str(folder))


def test_pictures_without_matplotlib(
    tmp_path: Path, trained: tuple[Path, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables come all the same; pictures that were asked for are an error before anything is measured."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    output = run(str(trained[0]), "--out", str(tmp_path / "plots"))
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "bins.csv",
        "curves.csv",
        "heads.csv",
        "spectra.csv",
    ]
    assert f"{sys.executable} -m pip install 'mpcinfer[plots]'" in output
    assert "pip install" not in run(str(trained[0]), "--out", str(tmp_path / "plots"), "--no-pictures")
    with pytest.raises(ConfigError, match=r"pip install 'mpcinfer\[plots\]'"):
        run(str(trained[0]), "--out", str(tmp_path / "none"), "--pictures")
    assert not (tmp_path / "none").exists()


def test_nan_is_told_and_drawn(tmp_path: Path, trained: tuple[Path, Trained]) -> None:
    """A head whose queries overflow float32 has NaN attention: inf - inf in the softmax."""
    _, result = trained
    weights = {name: value.clone() for name, value in result.model.weights.items()}
    weights["layer1.attn.qkv.weight"][:, 8:16] = 1e38  # the second head's queries
    weights["layer1.attn.qkv.weight"][:, 24:32] = 1e38  # and its keys
    tokens = torch.arange(32).view(2, 16)
    found = measured_entropies(CONFIG, weights, [(tokens, tokens)])
    assert float(found.nan_fraction[1, 1]) > 0
    assert float(found.nan_fraction[1, 0]) == 0
    names = write_report(tmp_path, found, [], "broken")
    assert "heatmap.png" in names
    broken = rows(tmp_path / "heads.csv")[3]
    assert float(broken["nan_fraction"]) > 0
    assert broken["entropy"] != "0"
    assert math.isfinite(float(rows(tmp_path / "heads.csv")[0]["entropy"]))
