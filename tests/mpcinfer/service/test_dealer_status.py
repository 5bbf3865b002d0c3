"""`mpcinfer dealer status`, and that `mpcinfer dealer` is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.service.dealing.store import DealerStore, status_of
from parties.errors import ConfigError
from tests.mpcinfer.service import taking

RUNNER = CliRunner(env={"COLUMNS": "200"})


def test_status_shows_pairs_kinds_and_bundles(tmp_path: Path) -> None:
    with DealerStore.open(tmp_path, budget_bytes=1 << 20) as store:
        taking.want(store)
        for _ in range(3):
            assert taking.deal(store)
        with (tmp_path / "log").open("ab") as log:
            assert taking.take(store, log.fileno())
        store.note("the disk is [full]")
        shown = status_of(tmp_path)
        assert shown == store.status()
    result = RUNNER.invoke(app, ["dealer", "status", "--store", str(tmp_path)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("32.8 kB of 1.05 MB on disk; no quota; bundles are kept for 7 days; the last")
    [pair] = [line.split() for line in lines if line.startswith(" CCCCCCCC...") and "SSSS" in line]
    assert pair == ["CCCCCCCC...", "SSSSSSSS...", "32.8", "kB", "16.4", "kB", "2", "1"]
    [kind] = [line.split() for line in lines if taking.PROGRAM.digest[:8] in line]
    assert kind[-4:] == ["5", "1", "2", "1"]
    assert any(line.endswith("the disk is [full]") for line in lines)


def test_status_of_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no store of a dealer"):
        status_of(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert RUNNER.invoke(app, ["dealer", "status"]).exit_code == 2


def test_dealer_itself_wants_its_keys_and_says_what_there_is_besides() -> None:
    missing = RUNNER.invoke(app, ["dealer"])
    assert missing.exit_code == 2
    assert "--key" in missing.output
    shown = RUNNER.invoke(app, ["dealer", "--help"])
    assert "--server-key" in shown.output
    assert "mpcinfer dealer status --store" in shown.output
