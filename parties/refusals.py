"""Refusals with a name, as a peer is told of them: a reason, a sentence, and when to try again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from parties.errors import AdmissionRefused, MalformedFrame

REFUSED_LABEL = "session.refused"
"""Of a frame that ends a session instead of what is awaited."""
MOST_REFUSAL_BYTES = 1024
REASONS = frozenset(
    {
        "context",  # the session would hold more tokens than one may
        "draining",  # the service ends
        "full",  # too many wait already
        "idle",  # nothing was asked for too long
        "malformed",  # not what a front can read
        "memory",  # the session took more memory than one may
        "pair",  # no session of a server and a client that may meet here
        "prompt",  # a pass has more tokens than one may
        "quota",  # more correlations than this client may have for now
        "rate",  # this client asks too often
        "sessions",  # this client has as many sessions as it may
        "time",  # the session lasted as long as one may
        "tokens",  # the session ran as many tokens as one may
        "unavailable",  # nobody is ready to serve
        "version",  # of what is said on the wire
    }
)
_MOST_LETTERS = 300
_LONGEST_RETRY_S = 86_400.0


def to_document(refused: AdmissionRefused) -> dict[str, Any]:
    """As a peer is told."""
    return {"refused": refused.reason, "message": refused.message, "retry_s": refused.retry_s}


def from_document(document: Mapping[str, Any]) -> AdmissionRefused:
    """What a peer says, checked; letters that are not printable are left out.

    Raises:
        MalformedFrame: it is no refusal.
    """
    reason, message, retry_s = (document.get(name) for name in ("refused", "message", "retry_s"))
    if not isinstance(reason, str) or reason not in REASONS or not isinstance(message, str):
        raise MalformedFrame("a refusal has a reason and a message")
    if retry_s is not None:
        if not isinstance(retry_s, float | int) or isinstance(retry_s, bool) or not math.isfinite(retry_s):
            raise MalformedFrame("a refusal says in how many seconds to try again, or nothing")
        retry_s = min(max(float(retry_s), 0.0), _LONGEST_RETRY_S)
    shown = "".join(letter for letter in message[:_MOST_LETTERS] if letter.isprintable())
    return AdmissionRefused(reason, shown, retry_s)
