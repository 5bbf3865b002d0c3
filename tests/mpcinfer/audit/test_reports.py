"""`mpcinfer audit` prints what it found, and writes it as a page and as JSON."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.audit import utility
from mpcinfer.audit.chance import Recovered
from mpcinfer.audit.opened import PROMPT, WEIGHTS, OpenedAudit
from mpcinfer.audit.openings_report import openings_report, verdict
from mpcinfer.audit.revealed import Sizes
from mpcinfer.cli import audits
from mpcinfer.cli.main import app

SMALL = partial(Sizes, vocabulary=16, width=6, tokens=6, beam=1)
ROW = Recovered(
    reason="open", forms=("sum",), labels=1, words=9, rate=1.0, best=1.0, best_label="a/open", p_value=1e-9
)
LEAKY = OpenedAudit(plan="weak", secret=PROMPT, candidates=4, trials=8, rows=[ROW], sizes=["a/b (sum)"])


def test_openings_of_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "Sizes", SMALL)
    monkeypatch.setattr(audits, "_WIDTHS", range(2, 4))
    arguments = ["audit", "openings", "--plan", "crypten", "--candidates", "2", "--trials", "2"]
    result = CliRunner().invoke(app, [*arguments, "--prompts", "1", "--out", str(tmp_path / "found")])
    assert result.exit_code == 0, result.output
    assert "crypten: what the server sees of the prompt is at chance level" in " ".join(result.output.split())
    found = json.loads((tmp_path / "found" / "openings.json").read_text())
    assert [each["clean"] for each in found["opened"]] == [True, True]
    assert {row["tensor"] for row in found["revealed"]} >= {"attention scores", "permuted activations"}
    page = (tmp_path / "found" / "openings.html").read_text()
    assert "beaver.matmul" in page
    assert "meant to be seen" in page
    assert "http" not in page


def test_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "_STEPS", 2)
    monkeypatch.setattr(
        audits, "inversion_row", partial(audits.inversion_row, lm_restarts=1, lbfgs_restarts=1)
    )
    arguments = ["audit", "gradients", "--no-accountant", "--texts", "1", "--spans", "1"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "gradients.json").read_text())
    assert len(found["inversions"]) == 2
    assert found["noise"][0]["epsilon"] is None
    assert "Private inference computes no gradients" in (tmp_path / "gradients.html").read_text()


def test_a_leak_is_named_and_told_values_are_none() -> None:
    assert not LEAKY.clean
    assert verdict(LEAKY).endswith("NOT at chance level: open names 1.00; sizes differ: a/b (sum)")
    assert "LEAK" in openings_report([LEAKY], [], [], []).to_html()
    logits = dataclasses.replace(ROW, reason="result")
    told = dataclasses.replace(LEAKY, secret=WEIGHTS, rows=[logits], sizes=[])
    assert told.clean
    assert not dataclasses.replace(told, secret=PROMPT).clean


def test_names_are_no_markup() -> None:
    row = dataclasses.replace(ROW, reason="<script>")
    page = openings_report([dataclasses.replace(LEAKY, rows=[row])], [], [], []).to_html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
