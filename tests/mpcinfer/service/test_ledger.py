"""The ledger of a dealer's store: what it refuses, and what it forgets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mpcinfer.service.dealing import quota, wants
from mpcinfer.service.dealing.ledger import Ledger
from mpcinfer.service.dealing.open_store import LEDGER
from mpcinfer.service.dealing.wants import MOST_KINDS, ProgramText
from mpcinfer.suites.stock import Schedule
from parties.errors import ConfigError
from tests.mpcinfer.service import taking

HOUR = 3600.0


def test_what_is_committed_is_on_disk_by_the_settings(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER)
    with ledger.transaction() as tx:
        assert tx.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert tx.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert (tmp_path / LEDGER).stat().st_mode & 0o077 == 0
    assert (tmp_path / f"{LEDGER}-wal").stat().st_mode & 0o077 == 0
    ledger.close()


def test_a_block_that_raises_writes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER)
    with pytest.raises(ConfigError, match="syntax"), ledger.transaction() as tx:
        tx.executemany("INSERT INTO notes VALUES (1, ?)", [("never",)]).execute("no SQL")
    with ledger.transaction() as tx:
        assert tx.execute("SELECT * FROM notes").fetchall() == []
    ledger.close()


def test_a_ledger_of_another_version_or_damaged_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / LEDGER).close()
    connection = sqlite3.connect(tmp_path / LEDGER)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(ConfigError, match="version 7, this is 1"):
        Ledger(tmp_path / LEDGER)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LEDGER).write_bytes(b"no ledger" * 1000)
    with pytest.raises(ConfigError, match="not a database; nobody knows what was used"):
        Ledger(tmp_path / "other" / LEDGER)
    with pytest.raises(ConfigError, match="no store of a dealer"):
        Ledger(tmp_path / "none" / LEDGER, create=False)


def test_pages_that_were_overwritten_are_noticed(tmp_path: Path) -> None:
    with taking.opened(tmp_path) as store:
        taking.want(store)
        for _ in range(20):
            taking.deal(store)
    content = bytearray((tmp_path / LEDGER).read_bytes())
    content[8192 : len(content)] = bytes(len(content) - 8192)
    (tmp_path / LEDGER).write_bytes(content)
    with pytest.raises(ConfigError, match="nobody knows what was used"):
        taking.opened(tmp_path)


def test_no_bundle_goes_back(tmp_path: Path) -> None:
    """Whatever a later version of this program does wrong, the ledger refuses."""
    with taking.opened(tmp_path / "store") as store:
        taking.want(store)
        assert taking.deal(store)
        taken = store.bundles.take(taking.PAIR, taking.PROGRAM.digest, 5, since=0.0, now=1.0)
        assert taken is not None
        for state in ("ready", "dealing", "taken"):
            with pytest.raises(ConfigError, match="never back"), store.ledger.transaction() as tx:
                tx.execute("UPDATE bundles SET state = ?", (state,))
        store.bundles.spend(taken, 2.0)
        with pytest.raises(ConfigError, match="never back"), store.ledger.transaction() as tx:
            tx.execute("UPDATE bundles SET state = 'taken'")


def test_a_folder_open_to_others_or_terms_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        taking.OpenStore.open(tmp_path / "open", budget_bytes=1)
    with pytest.raises(ConfigError, match="a budget is at least 0"):
        taking.OpenStore.open(tmp_path / "new", budget_bytes=-1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        taking.OpenStore.open(tmp_path / "file", budget_bytes=1)


def test_bundles_and_kinds_that_are_too_old_are_given_up(tmp_path: Path) -> None:
    with taking.opened(tmp_path / "store") as store:
        taking.want(store)
        assert taking.deal(store)
        now = store.now()
        assert store.bundles.take(taking.PAIR, taking.PROGRAM.digest, 5, since=now + 1, now=now) is None
        assert store.bundles.recover(since=now + 1, now=now).expired == 0  # with its kind
        with store.ledger.transaction() as tx:
            assert tx.execute("SELECT state FROM bundles").fetchall() == [("expired",)]
            assert wants.wanted(tx, now) == []
        assert list((store.folder / "bundles").iterdir()) == []
        month = now + 31 * 24 * HOUR
        store.bundles.recover(since=0.0, now=month)
        with store.ledger.transaction() as tx:
            assert tx.execute("SELECT count(*) FROM bundles").fetchone() == (0,)


def test_files_that_somebody_removed_are_noticed(tmp_path: Path) -> None:
    with taking.opened(tmp_path / "store") as store:
        taking.want(store)
        assert taking.deal(store)
        [folder] = (store.folder / "bundles").iterdir()
        (folder / taking.SEED).unlink()
        folder.rmdir()
        (store.folder / "bundles" / "stray").mkdir()
        recovered = store.recover()
        assert (recovered.expired, recovered.removed) == (1, 1)


def test_a_pair_has_so_many_kinds(tmp_path: Path) -> None:
    with taking.opened(tmp_path / "store") as store, store.ledger.transaction() as tx:
        pair = taking.PAIR.id(tx)
        for i in range(MOST_KINDS + 3):
            wants.learn(tx, pair, ProgramText.of("fss", {"n": i}), Schedule(tokens=1), float(i))
        kinds = wants.wanted(tx, 0.0)
        assert len(kinds) == MOST_KINDS
        assert min(kind.wanted for kind in kinds) == 3.0
        assert tx.execute("SELECT count(*) FROM programs").fetchone() == (MOST_KINDS,)
        long = ProgramText.of("fss", {"n": "x" * (1 << 18)})
        wants.learn(tx, pair, long, Schedule(tokens=1), 1e9)
        assert len(wants.wanted(tx, 0.0)) == MOST_KINDS


def test_programs_of_another_version_are_not_dealt_for(tmp_path: Path) -> None:
    with taking.opened(tmp_path / "store") as store, store.ledger.transaction() as tx:
        old = ProgramText("fss", "{}", "0" * 64)
        wants.learn(tx, taking.PAIR.id(tx), old, Schedule(tokens=1), 1.0)
        assert wants.wanted(tx, 1.0) == []


def test_a_quota_counts_a_day_and_says_when_to_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER)
    with ledger.transaction() as tx:
        quota.charge(tx, "C", 600, 0.5 * HOUR)
        quota.charge(tx, "C", 500, 3.5 * HOUR)
        quota.charge(tx, "D", 9000, 3.5 * HOUR)
        now = 10 * HOUR
        assert quota.used_bytes(tx, "C", now) == 1100
        assert quota.retry_s(tx, "C", 1000, now) == 14 * HOUR  # when the first hour counts no more
        assert quota.retry_s(tx, "C", 400, now) == 17 * HOUR
        assert quota.used_bytes(tx, "C", now + 14 * HOUR) == 500
        assert quota.used_bytes(tx, "C", now + 17 * HOUR) == 0
        assert quota.used_bytes(tx, "C", -100 * HOUR) == 1100  # a clock that was put back forgives nothing
        quota.charge(tx, "E", 1, 100 * HOUR)
        assert tx.execute("SELECT count(*) FROM quota").fetchone() == (1,)
    ledger.close()


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        ([5, 5, 5, 5], 5),
        ([1, 2, 3, 100], 3),
        ([1, 1, 1, 1], 1),
        ([9], 9),
    ],
)
def test_the_usual_answer_is_what_three_in_four_did_with(passes: list[int], expected: int) -> None:
    seen = [Schedule(tokens=4, passes=count) for count in passes]
    assert Schedule.usual(seen).passes == expected
