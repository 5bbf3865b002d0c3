"""Ranges of named models, calibrated once and shipped: `NAME.json`, written by `save_ranges`.

To write one again: `save_ranges(calibrated_file(name), calibrate(model, chat_prompts(model.tokenizer)))`,
or of a sentence encoder `sentence_prompts()`.
"""

from __future__ import annotations

from pathlib import Path


def calibrated_file(name: str) -> Path:
    """Where the ranges of a named model lie."""
    return Path(__file__).parent / f"{name}.json"
