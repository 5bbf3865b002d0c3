"""Prompt weights in files: what `reweight` writes and `generate --prompt-weights` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from mpcinfer.prompt_weights.settings import LEAST
from mpcinfer.prompt_weights.weights import PromptWeights
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError

_FORM = '{"examples": [{"text": "...", "weight": 0.5}, ...], "least": 0.001}'


def document_of(weights: PromptWeights) -> dict[str, Any]:
    """As plain values."""
    pairs = zip(weights.examples, weights.weights, strict=True)
    return {"examples": [{"text": text, "weight": w} for text, w in pairs], "least": weights.least}


def weights_of(document: object, what: str = "prompt weights") -> PromptWeights:
    """Of what `document_of` gives; "least" may be left out.

    Args:
        what: what an error calls the document.

    Raises:
        ConfigError: it is something else, or see `PromptWeights`.
    """
    fields = cast(dict[str, object], document) if isinstance(document, dict) else {}
    pairs, least = fields.get("examples"), fields.get("least", LEAST)
    known = set(fields) <= {"examples", "least"}
    if not known or not isinstance(pairs, list) or not _is_number(least):
        raise ConfigError(f"{what}: a document is {_FORM}")
    read = [_pair(each, what) for each in cast(list[object], pairs)]
    return PromptWeights.of([text for text, _ in read], [w for _, w in read], float(cast(float, least)))


def load_weights(path: Path) -> PromptWeights:
    """Of a file.

    Raises:
        ConfigError: it cannot be read, is no JSON, or as `weights_of`.
    """
    try:
        document = json.loads(read_text_file(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    return weights_of(document, str(path))


def _pair(value: object, what: str) -> tuple[str, float]:
    """An example's text and weight."""
    fields = cast(dict[str, object], value) if isinstance(value, dict) else {}
    text, weight = fields.get("text"), fields.get("weight")
    if set(fields) != {"text", "weight"} or not isinstance(text, str) or not _is_number(weight):
        raise ConfigError(f"{what}: an example is one of {_FORM}, got {value!r:.80}")
    return text, float(cast(float, weight))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
