"""Published figures: each has its source and its conditions, and none is among what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpcinfer.benchmark.published import published
from parties.errors import ConfigError

ROOT = Path(__file__).parents[2]
MEASURED_HERE = ("mpcinfer", "SPU", "CrypTen")


def test_every_figure_has_a_source_and_says_what_is_trusted_and_counted() -> None:
    rows = published()
    assert rows
    for row in rows:
        assert row.source
        assert row.trust
        assert row.counted
        assert row.left_out
        assert row.hardware
        assert row.online_bytes is not None or row.seconds is not None


def test_fss_systems_say_that_the_model_is_public() -> None:
    rows = [row for row in published() if "SIGMA" in row.system or "FuseFSS" in row.system]
    assert rows
    assert all("model is public" in row.trust and "two servers" in row.trust for row in rows)


def test_published_and_measured_do_not_share_a_table() -> None:
    assert not [row for row in published() if row.system.startswith(MEASURED_HERE)]
    measured = (ROOT / "docs" / "peers.md").read_text("utf-8")
    rows = [line for line in measured.splitlines() if line.startswith("|")]
    for row in published():
        assert not [line for line in rows if row.system in line]


def test_a_row_without_a_source_is_refused(tmp_path: Path) -> None:
    documents = json.loads((ROOT / "mpcinfer" / "benchmark" / "published.json").read_text("utf-8"))
    path = tmp_path / "published.json"
    path.write_text(json.dumps([{**documents[0], "source": ""}]), "utf-8")
    with pytest.raises(ConfigError, match="source"):
        published(path)
    del documents[0]["trust"]
    path.write_text(json.dumps(documents[:1]), "utf-8")
    with pytest.raises(ConfigError, match="trust"):
        published(path)
