"""Sound messages to begin with: all that the parties of real sessions of a small model sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from bench.fuzz.mutations import Message
from mpcinfer.audit.sessions import tapped_session
from mpcinfer.audit.victims import victim
from mpcinfer.suites.registry import get_plan
from parties.wire import encode

PLANS = ("fss", "two-party")
_PROMPT = (1, 2, 3)
_MOST_BYTES = 1 << 16
"""Longer messages are like shorter ones, only slower to change."""


@lru_cache
def recorded(plans: tuple[str, ...] = PLANS) -> Sequence[Message]:
    """One message of every label, number of parts and widths, of one session a plan."""
    model = victim()
    kinds: dict[tuple[object, ...], Message] = {}
    for name in plans:
        session = tapped_session(model, get_plan(name), _PROMPT)
        for frame in (frame for side in (*session.received, *session.dealt) for frame in side):
            message = [bytes(part) for part in encode(frame)]
            if sum(map(len, message)) <= _MOST_BYTES:
                kinds.setdefault((frame.label, tuple(spec.bits for spec in frame.specs)), message)
    return list(kinds.values())
