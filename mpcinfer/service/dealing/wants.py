"""What pairs want dealt ahead, learned from their sessions: kinds of conversations."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpcinfer.suites.stock import Schedule
from parties.handshake import PROTOCOL_VERSION

MOST_KINDS = 64
"""Of a pair; the one that was wanted longest ago makes room."""
MOST_READY = 8
"""Bundles of a kind in stock."""
SEEN = 16
"""The last sessions of a kind say how its next bundles are."""
_DAY_S = 86_400.0
_MOST_DOCUMENT_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Pair:
    """A server and a client: their public keys, and what the operator calls the client."""

    server: str
    client: str
    name: str = ""

    def id(self, tx: sqlite3.Connection) -> int:
        """Its number in the ledger."""
        tx.execute(
            "INSERT INTO pairs (server, client, name) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET name = "
            "CASE excluded.name WHEN '' THEN name ELSE excluded.name END",
            (self.server, self.client, self.name),
        )
        [number] = tx.execute(
            "SELECT id FROM pairs WHERE server = ? AND client = ?", (self.server, self.client)
        ).fetchone()
        return int(number)


@dataclass(frozen=True, slots=True)
class ProgramText:
    """What sessions run, as text that is the same for the same program, and its digest with the version of
    everything on the wire."""

    suite: str
    document: str
    digest: str

    @classmethod
    def of(cls, suite: str, program: Mapping[str, Any]) -> ProgramText:
        document = json.dumps(program, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(f"{PROTOCOL_VERSION}\n{suite}\n{document}".encode()).hexdigest()
        return cls(suite, document, digest)

    def program(self) -> dict[str, Any]:
        """The program, as plain values."""
        return json.loads(self.document)


@dataclass(frozen=True, slots=True)
class Kind:
    """Conversations of a pair that begin alike.

    Attributes:
        schedule: of the bundle to deal next.
        wanted: when a session last was of this kind.
        target: how many bundles should be in stock.
        ready: how many are.
    """

    id: int
    pair: int
    program: ProgramText
    schedule: Schedule
    wanted: float
    target: int
    ready: int


def learn(tx: sqlite3.Connection, pair: int, program: ProgramText, seen: Schedule, now: float) -> None:
    """A session of a pair is over, and this is how it went."""
    if len(program.document) > _MOST_DOCUMENT_BYTES:
        return
    tx.execute(
        "INSERT OR IGNORE INTO programs VALUES (?, ?, ?)", (program.digest, program.suite, program.document)
    )
    tx.execute(
        "INSERT INTO kinds (pair, program, tokens, wanted) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET wanted = excluded.wanted",
        (pair, program.digest, seen.tokens, now),
    )
    [kind] = tx.execute(
        "SELECT id FROM kinds WHERE pair = ? AND program = ? AND tokens = ?",
        (pair, program.digest, seen.tokens),
    ).fetchone()
    tx.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
        (kind, now, seen.passes, seen.then_tokens, seen.then_rows),
    )
    surplus = tx.execute(
        "SELECT id FROM kinds WHERE pair = ? ORDER BY wanted DESC LIMIT -1 OFFSET ?", (pair, MOST_KINDS)
    ).fetchall()
    for (each,) in surplus:
        forget(tx, int(each), now)


def forget(tx: sqlite3.Connection, kind: int, now: float) -> None:
    """Nothing of a kind is dealt or used any more."""
    tx.execute(
        "UPDATE bundles SET state = 'expired', ended = ? WHERE kind = ? AND state = 'ready'", (now, kind)
    )
    tx.execute("DELETE FROM sessions WHERE kind = ?", (kind,))
    tx.execute("DELETE FROM kinds WHERE id = ?", (kind,))
    tx.execute("DELETE FROM programs WHERE digest NOT IN (SELECT program FROM kinds)")


def wanted(tx: sqlite3.Connection, now: float) -> list[Kind]:
    """All kinds that are not forgotten, and whose programs are of this version."""
    rows = tx.execute(
        "SELECT k.id, k.pair, k.program, p.suite, p.document, k.tokens, k.wanted, "
        "(SELECT count(*) FROM sessions s WHERE s.kind = k.id AND s.at > ?), "
        "(SELECT count(*) FROM bundles b WHERE b.kind = k.id AND b.state = 'ready') "
        "FROM kinds k JOIN programs p ON p.digest = k.program",
        (now - _DAY_S,),
    ).fetchall()
    return [
        Kind(
            id=int(kind),
            pair=int(pair),
            program=ProgramText(suite, document, digest),
            schedule=_usual(tx, int(kind), int(tokens)),
            wanted=float(at),
            target=min(max(int(today), 1), MOST_READY),
            ready=int(ready),
        )
        for kind, pair, digest, suite, document, tokens, at, today, ready in rows
        if ProgramText.of(suite, json.loads(document)).digest == digest
    ]


def _usual(tx: sqlite3.Connection, kind: int, tokens: int) -> Schedule:
    """How the next bundle of a kind is to be."""
    seen = tx.execute(
        "SELECT passes, then_tokens, then_rows FROM sessions WHERE kind = ? ORDER BY at DESC LIMIT ?",
        (kind, SEEN),
    ).fetchall()
    return Schedule.usual(
        [
            Schedule(tokens=tokens, passes=int(passes), then_tokens=int(step), then_rows=int(rows))
            for passes, step, rows in seen
        ]
        or [Schedule(tokens=tokens)]
    )
