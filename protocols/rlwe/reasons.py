"""Why a frame of encrypted products is sent: each reason has a line in `tests/openings.txt`."""

from __future__ import annotations

KEYS, QUERY, ANSWER, SLOTS = "rlwe.keys", "rlwe.query", "rlwe.answer", "rlwe.slots"
"""Answers for matrices and for vectors."""
