"""A benchmark record: one line of JSON with all that is needed to read it, and to run it again."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from parties.errors import ConfigError

HOW = ("counted", "loopback", "shaped", "emulated", "modelled")
"""Where its seconds are from: nowhere; a run without a network, over our shaped channel, or over a network
outside of the parties; the bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """What was run, on what, and what it cost.

    Attributes:
        case: its name, as `mpcinfer bench --list` shows it.
        kind: `operation`, `block`, `stack`, `model` or `token` (one token of generation over a KV cache).
        system: `mpcinfer`, or the name of a peer.
        plan: name; plan_document: as `Plan.to_json` has it, empty for a peer.
        model: name or path; variant: such as `SM+LN+G`; empty where it does not matter.
        tokens: of the prompt; new_tokens: after it.
        shape: of the input.
        how: one of `HOW`; network, bandwidth (bits a second, None for no limit), latency (seconds one way).
        emulated_by: what emulated the network: `relay`, `netem`; empty for other runs.
        bill: of one run, in `Bill.to_json`'s form; for a peer its totals alone, as counted at its sockets.
        seconds: online, one number a repetition; so are offline_seconds (parties), dealer_seconds and
            setup_seconds.
        error: largest and mean absolute difference to float64: `max`, `mean`.
        memory: largest resident size in bytes by role.
        quality: what the model is worth, where that is known: `perplexity`.
        trust: who must be trusted, in words.
        failed: why there is no result; empty where there is one.
        machine, versions, commit, command, started: where, with what, of what, how to repeat it, when (UTC).
    """

    case: str
    kind: str
    system: str = "mpcinfer"
    plan: str = ""
    plan_document: dict[str, Any] = field(default_factory=dict[str, Any])
    model: str = ""
    variant: str = ""
    tokens: int = 0
    new_tokens: int = 0
    shape: list[int] = field(default_factory=list[int])
    how: str = "counted"
    network: str = ""
    bandwidth: float | None = None
    latency: float = 0.0
    emulated_by: str = ""
    bill: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: list[float] = field(default_factory=list[float])
    offline_seconds: list[float] = field(default_factory=list[float])
    dealer_seconds: list[float] = field(default_factory=list[float])
    setup_seconds: list[float] = field(default_factory=list[float])
    error: dict[str, float] = field(default_factory=dict[str, float])
    memory: dict[str, int] = field(default_factory=dict[str, int])
    quality: dict[str, float] = field(default_factory=dict[str, float])
    trust: str = ""
    failed: str = ""
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    commit: str = ""
    command: str = ""
    started: str = ""

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))


def read_records(paths: Iterable[Path]) -> Generator[BenchRecord]:
    """The records of files, in order; empty lines are skipped, fields of later releases as well.

    Raises:
        ConfigError: a file cannot be read, or a line is no record; the message has its number.
    """
    known = {each.name for each in fields(BenchRecord)}
    for path in paths:
        try:
            lines = path.read_text("utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
                record = BenchRecord(**{key: value for key, value in document.items() if key in known})
            except (ValueError, TypeError, AttributeError) as error:
                raise ConfigError(f"{path}, line {number}: no benchmark record: {error}") from None
            if record.how not in HOW:
                raise ConfigError(
                    f"{path}, line {number}: how is one of {', '.join(HOW)}, not {record.how!r}"
                )
            yield record
