"""Why a frame is sent, as the last part of its label: each reason has a line in `tests/openings.txt`."""

from __future__ import annotations

from parties.link import Link

BASE_SENDER, BASE_RECEIVER = "base.sender", "base.receiver"
"""Points of base OTs."""
EXTENSION, TREES = "ot.columns", "ot.trees"
"""Of an extension, and of a silent one."""
CHOICES, VALUES = "ot.choices", "ot.values"
"""Of conversions: what the COTs' receiver sends, and what their sender does."""
KEYS, QUERY, ANSWER, SLOTS = "rlwe.keys", "rlwe.query", "rlwe.answer", "rlwe.slots"
"""Of products by encryption; answers for matrices and for vectors."""


def labelled(link: Link, reason: str) -> str:
    """The meter's label, and why."""
    return f"{link.meter.label}/{reason}"
