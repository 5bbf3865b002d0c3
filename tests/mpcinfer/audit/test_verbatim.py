"""`mpcinfer audit extraction`: what a model continues word for word is what its greedy answers are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.audit.verbatim import VerbatimRow, encoded_texts, verbatim_rows
from mpcinfer.audit.verbatim_report import verbatim_report
from mpcinfer.cli.main import app
from mpcinfer.models.load import load_config, load_model
from mpcinfer.training.extraction import extraction
from mpcinfer.training.losses import greedy_tokens
from parties.errors import ConfigError

TEXT = """for i in range(10):
    print(i)

def __init__(self, name):
    self.name = name
"""
ROW = VerbatimRow(text="a<b>.txt", tokens=90, prefix=8, continuation=4, prefixes=50, verbatim=0.5, right=0.9)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    return path


def test_rates_are_those_of_greedy_answers(text: Path) -> None:
    model = load_model("tiny-python")
    ids = encoded_texts(model, text)[0]
    starts = range(0, len(ids) - 5, 3)
    answers = [greedy_tokens(model.config, model.weights, ids[at : at + 4], 2) for at in starts]
    expected = [answer == ids[at + 4 : at + 6] for at, answer in zip(starts, answers, strict=True)]
    told: list[tuple[str, int, int]] = []

    def tell(what: str, done: int, of: int) -> None:
        told.append((what, done, of))

    (row,) = verbatim_rows(model, text, [4], continuation=2, stride=3, on_rows=tell)
    assert row.prefixes == len(expected)
    assert row.tokens == len(ids)
    assert row.verbatim == pytest.approx(sum(expected) / len(expected))
    assert 0 < row.verbatim < 1
    assert told[-1] == ("own.txt: prefixes of 4 tokens", row.prefixes, row.prefixes)


def test_what_stands_before_a_prompt_stands_before_every_prefix(text: Path) -> None:
    model = load_model("tiny-python")
    ids = encoded_texts(model, text)[0]
    before = ids[:12]
    found = extraction(model.config, model.weights, [ids], prefix=1, continuation=1, before=before)
    answers = [
        greedy_tokens(model.config, model.weights, [*before, ids[at]], 1) for at in range(found.prefixes)
    ]
    assert found.verbatim == pytest.approx(
        sum(answer == [ids[at + 1]] for at, answer in enumerate(answers)) / found.prefixes
    )
    without = extraction(model.config, model.weights, [ids], prefix=1, continuation=1)
    assert found.tokens != without.tokens


def test_the_command_prints_and_writes_and_keeps_a_limit(text: Path, tmp_path: Path) -> None:
    arguments = ["audit", "extraction", "tiny-python", "--text", str(text), "--prefix", "4"]
    arguments += ["--continuation", "2", "--out", str(tmp_path / "found")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found" / "extraction.json").read_text())
    (row,) = found["rows"]
    assert f"{row['verbatim']:.1%}" in result.output
    assert "own.txt" in (tmp_path / "found" / "extraction.html").read_text()
    above, below = row["verbatim"] - 0.01, row["verbatim"] + 0.01
    result = CliRunner().invoke(app, [*arguments, "--at-most", str(above)])
    assert result.exit_code == 1
    assert "NOT kept" in result.output
    assert CliRunner().invoke(app, [*arguments, "--at-most", str(below)]).exit_code == 0


def test_what_cannot_be_continued_is_an_error(text: Path, tmp_path: Path) -> None:
    model = load_model("tiny-python")
    with pytest.raises(ConfigError, match=r"no text at .*absent"):
        encoded_texts(model, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        encoded_texts(model, tmp_path / "empty")
    with pytest.raises(ConfigError, match="fit the context"):
        list(verbatim_rows(model, text, [2000], continuation=8))
    with pytest.raises(ConfigError, match="continues none"):
        extraction(load_config("bert-base"), model.weights, [[1, 2, 3]], prefix=1, continuation=1)


def test_the_worst_row_is_named_and_names_are_no_markup() -> None:
    better = dataclasses.replace(ROW, verbatim=0.1, text="other.txt")
    report = verbatim_report("mine", [better, ROW], None)
    assert "50.0% of 50 prefixes of 8 tokens of a<b>.txt" in report.lines[0]
    assert "a<b>" not in report.to_html()
    assert len(report.lines) + 1 == len(verbatim_report("mine", [ROW], 0.5).lines)
