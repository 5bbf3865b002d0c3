"""What a store has, for whom, and what happened to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from mpcinfer.service.dealing import quota, wants
from mpcinfer.service.dealing.bundles import held_bytes
from mpcinfer.service.dealing.ledger import Ledger
from mpcinfer.suites.stock import Schedule

_SHOWN_NOTES = 20
Counts = Mapping[str, int]
"""Bundles by state: dealing, ready, taken, spent, expired, lost; of the last 30 days."""


@dataclass(frozen=True, slots=True)
class PairStatus:
    """A pair.

    Attributes:
        name: what the operator calls the client; may be empty.
        server, client: their public keys.
        held_bytes: what its bundles take on disk.
        today_bytes: what its client had in 24 hours, with any server.
    """

    name: str
    server: str
    client: str
    held_bytes: int
    today_bytes: int
    bundles: Counts


@dataclass(frozen=True, slots=True)
class KindStatus:
    """A kind of conversation that is dealt for.

    Attributes:
        client: public key.
        plan: by name, where it says one.
        program: digest of what is run.
        schedule: of the next bundle.
        target: bundles that should be ready.
    """

    name: str
    client: str
    plan: str
    program: str
    schedule: Schedule
    target: int
    bundles: Counts


@dataclass(frozen=True, slots=True)
class DealerStatus:
    """A store.

    Attributes:
        quota_bytes: a client, in 24 hours; None for any number.
        held_bytes: of the budget, what bundles take that are there.
        refilled: when a bundle was dealt last, in seconds since 1970; None for never.
        notes: when, and what the operator should know; the newest first.
    """

    budget_bytes: int
    quota_bytes: int | None
    expiry_s: float
    held_bytes: int
    refilled: float | None
    pairs: list[PairStatus]
    kinds: list[KindStatus]
    notes: list[tuple[float, str]]


def read_status(ledger: Ledger, now: float) -> DealerStatus:
    """The status by the ledger, at one moment."""
    with ledger.transaction() as tx:
        settings = dict(tx.execute("SELECT name, value FROM settings").fetchall())
        held = held_bytes(tx)
        most = settings.get("quota")
        notes = tx.execute("SELECT at, text FROM notes ORDER BY rowid DESC LIMIT ?", (_SHOWN_NOTES,))
        return DealerStatus(
            budget_bytes=int(settings.get("budget", 0)),
            quota_bytes=None if most is None else int(most),
            expiry_s=float(settings.get("expiry", 0.0)),
            held_bytes=sum(held.values()),
            refilled=settings.get("refilled"),
            pairs=_pairs(tx, held, now),
            kinds=_kinds(tx, now),
            notes=[(float(at), str(text)) for at, text in notes.fetchall()],
        )


def _pairs(tx: sqlite3.Connection, held: Mapping[int, int], now: float) -> list[PairStatus]:
    rows = tx.execute("SELECT id, server, client, name FROM pairs ORDER BY name, id").fetchall()
    return [
        PairStatus(
            name=name,
            server=server,
            client=client,
            held_bytes=held.get(int(pair), 0),
            today_bytes=quota.used_bytes(tx, client, now),
            bundles=_counts(tx, "pair", int(pair)),
        )
        for pair, server, client, name in rows
    ]


def _kinds(tx: sqlite3.Connection, now: float) -> list[KindStatus]:
    names = {
        int(pair): (str(name), str(client))
        for pair, name, client in tx.execute("SELECT id, name, client FROM pairs").fetchall()
    }
    return [
        KindStatus(
            *names[kind.pair],
            plan=_plan(kind.program.document),
            program=kind.program.digest,
            schedule=kind.schedule,
            target=kind.target,
            bundles=_counts(tx, "kind", kind.id),
        )
        for kind in wants.wanted(tx, now)
    ]


def _counts(tx: sqlite3.Connection, column: str, number: int) -> Counts:
    """Bundles by state, of a pair or of a kind."""
    assert column in ("pair", "kind")
    rows = tx.execute(
        f"SELECT state, count(*) FROM bundles WHERE {column} = ? GROUP BY state", (number,)
    ).fetchall()
    return {str(state): int(count) for state, count in rows}


def _plan(document: str) -> str:
    """The name of a program's plan; empty where it says none."""
    program = json.loads(document)
    match program:
        case {"plan": {"name": str() as name}}:
            return name
        case _:
            return ""
