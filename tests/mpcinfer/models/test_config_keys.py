"""Every key that `transformers` has is honoured, refused or meaningless here, and the page says so."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from mpcinfer.models.families.common_keys import HONOURED, MEANINGLESS
from mpcinfer.models.families.registry import FAMILIES
from mpcinfer.models.fields import Fields
from scripts.config_keys import PAGE, page
from tests.mpcinfer.models.family_cases import CASES

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
# What `transformers` reads from keys that are no fields of its classes, for older files.
OLDER = {
    "rope_theta",
    "rope_scaling",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "rotary_pct",
    "rotary_emb_base",
    "sliding_window_pattern",
    "rope_local_base_freq",
    "head_dim",
}


def fields_of(model_type: str) -> dict[str, Any]:
    """Field names of the class of `transformers`, with their defaults."""
    return {
        each.name: None if each.default is dataclasses.MISSING else each.default
        for each in dataclasses.fields(CASES[model_type].config)
    }


@families
def test_every_field_of_transformers_is_known(family: Any) -> None:
    theirs = set(fields_of(family.model_type))
    known = (
        family.sizes | set(family.defaults) | set(family.only) | family.meaningless | HONOURED | MEANINGLESS
    )
    assert theirs - known == set()
    assert (family.sizes | set(family.defaults)) - theirs <= OLDER


@families
def test_no_key_is_in_two_lists(family: Any) -> None:
    lists = [family.sizes, set(family.defaults), set(family.only), family.meaningless]
    lists += [HONOURED, MEANINGLESS - set(family.only) - set(family.defaults)]
    keys = [key for each in lists for key in each]
    assert sorted(set(keys)) == sorted(keys)


@families
def test_what_is_absent_is_what_transformers_takes_for_it(family: Any) -> None:
    theirs = fields_of(family.model_type)
    for key, value in family.defaults.items():
        if key in theirs:
            assert value == theirs[key], key
    for key, values in family.only.items():
        if key in theirs and theirs[key] is not None:
            assert theirs[key] in values, key


class _Watched(dict[str, Any]):
    """Notes which keys were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked = set[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


@families
def test_what_is_called_honoured_is_read(family: Any) -> None:
    asked = set[str]()
    for seed in range(12):
        settings = CASES[family.model_type].settings(random.Random(seed)) | {"vocab_size": 300}
        if family.types:
            settings |= {"architectures": ["ForSequenceClassification"], "id2label": {}}
        values = _Watched(family.settled(Fields("test", settings)).values)
        fields = Fields("test", values)
        family.layout(fields, family.shape(fields))
        asked |= values.asked
    assert family.sizes | set(family.defaults) <= asked


def test_the_page_is_what_the_loader_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m scripts.config_keys`"
