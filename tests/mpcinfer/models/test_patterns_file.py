"""A file of key patterns is a model: the base's weights, another shape, other ranges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.models.load import has_weights, load_config, load_model, load_public, load_ranges_of
from mpcinfer.models.patterns_file import save_patterns
from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern

BASE = "tiny-python"


def written(path: Path) -> Path:
    model = load_model(BASE)
    heads = (KeyPattern(2.0, 0.5, 4), *(KeyPattern(dropped=True),) * (model.config.heads - 1))
    config = dataclasses.replace(model.config, patterns=(heads,) * model.config.layers)
    ranges = {**model.ranges, "layer0/add": 123.0}
    save_patterns(path, dataclasses.replace(model, config=config, ranges=ranges), BASE, 0.1)
    return path


def test_it_is_read_as_a_model_by_everybody(tmp_path: Path) -> None:
    path = written(tmp_path / "sparse.json")
    model, base = load_model(path), load_model(BASE)
    assert model.config.patterns[0][0] == KeyPattern(2.0, 0.5, 4)
    assert dataclasses.replace(model.config, patterns=()) == base.config
    assert model.weights.keys() == base.weights.keys()
    assert model.ranges["layer0/add"] == 123.0
    assert load_config(path) == model.config
    assert load_ranges_of(path) == model.ranges
    assert has_weights(path)
    public = load_public(path)
    assert (public.config, public.ranges) == (model.config, model.ranges)
    assert public.digest() != load_public(BASE).digest()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "no-such-model"}, "no-such-model"),
        ({"model": "other.json"}, "without patterns"),
        ({"patterns": None}, "is no model|pattern"),
        ({"patterns": [[]]}, "patterns are of 1 layers"),
        ({"patterns": 3}, "patterns is '3'"),
        ({"ranges": {"layer0/add": "1"}}, "layer0/add"),
    ],
)
def test_a_bad_one_is_refused_by_name(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "sparse.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(ConfigError, match=message):
        load_model(path)


def test_json_of_something_else_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="mpcinfer sparsify"):
        load_model(path)
