"""What the catalogue counts on where nothing else is asked for."""

from __future__ import annotations

SAMPLE_MODEL = "gpt2"
SAMPLE_TOKENS = 128
