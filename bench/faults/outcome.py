"""How a session went, as its client's process says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from bench.faults.commands import Command
from parties import errors

EXACT = "exactly as billed"
_COUNTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
)
_NAMES = frozenset(
    name
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.MpcInferError)
)


class NotSurvived(Exception):
    """What a fault did that it may not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a session that ended well.

    Attributes:
        counts: rounds and bytes of its bill, the same for every session that asks the same.
    """

    text: str
    counts: tuple[int, ...]


def outcome_of(command: Command) -> Answer | str:
    """The answer, or the name of the error that ended the session.

    Raises:
        NotSurvived: a bill that the kernel does not confirm, or an end without a named error.
    """
    err = command.err.read_text(errors="replace")
    if command.status == 0:
        document = json.loads(command.out.read_text())
        bill = document["bill"]
        if not any(EXACT in note for note in bill["notes"]):
            raise NotSurvived(f"not {EXACT}: {bill['notes'][0]}")
        return Answer(document["text"], tuple(bill[name] for name in _COUNTS))
    names = [found for line in err.splitlines() if (found := re.match(r"(\w+): ", line)) is not None]
    named = next((each[1] for each in reversed(names) if each[1] in _NAMES), None)
    if command.status != 1 or named is None or "Traceback" in err:
        raise NotSurvived(f"status {command.status} without a named error: {err[-500:]!r}")
    return named
