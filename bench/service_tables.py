"""Tables of what a service was tried with, from the newest records."""

from __future__ import annotations

import json
from typing import Any

from bench.faults.kinds import KINDS
from bench.faults.trying import FILE as FAULTS
from bench.markdown import table
from bench.records import RECORDS

_FUZZ = RECORDS / "fuzz.jsonl"
_CAMPAIGNS = {
    "fuzz/parser": "all that parses a message",
    "fuzz/handshake": "every exchange before a session",
    "fuzz/live": "a server and a dealer that run",
    "fuzz/strangers": "peers at once that never finish the handshake",
    "fuzz/first": "the first message to a front",
}


def faults_table() -> str:
    """Of every kind of fault: moments tried and survived."""
    newest: dict[str, dict[str, Any]] = {}
    for line in FAULTS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        newest[record["kind"]] = record
    rows = [
        [
            KINDS[kind].what,
            str(record["tried"]),
            str(record["survived"]),
            ", ".join(f"{count} {what}" for what, count in record["seen"].items()),
        ]
        for kind, record in sorted(newest.items(), key=lambda each: list(KINDS).index(each[0]))
        if record["tried"]
    ]
    return table(["fault", "tried", "survived", "the session with the fault"], rows)


def fuzz_table() -> str:
    """Of every campaign: frames, and what broke the rules."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for line in _FUZZ.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        newest[record["case"], record["plan"]] = record["extra"]
    rows = [
        [
            f"{_CAMPAIGNS[case]}{f', `{plan}`' if plan else ''}",
            f"{extra.get('frames', extra.get('peers', 0)):,}",
            _grown(extra),
            str(len(extra["found"])),
        ]
        for (case, plan), extra in newest.items()
    ]
    return table(["bad input against", "frames", "memory grew by", "findings"], rows)


def _grown(extra: dict[str, Any]) -> str:
    before, after = extra["memory_before"], extra.get("memory_most") or extra["memory_after"]
    if not isinstance(before, dict):
        return f"{(after - before) / 1e6:.1f} MB"
    return ", ".join(f"{(after[name] - before[name]) / 1e6:.1f} MB ({name})" for name in sorted(after))


TABLES = {"faults": faults_table, "bad input": fuzz_table}
