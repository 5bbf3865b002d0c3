"""Why a frame of oblivious transfers is sent, as the last part of its label: each reason has a line in
`tests/openings.txt`."""

from __future__ import annotations

BASE_SENDER, BASE_RECEIVER = "base.sender", "base.receiver"
"""Points of base OTs."""
EXTENSION, TREES = "ot.columns", "ot.trees"
"""Of an extension, and of a silent one."""
CHOICES, VALUES = "ot.choices", "ot.values"
"""Of conversions: what the COTs' receiver sends, and what their sender does."""
