"""A cache whose keys and values move into states: the same in float, what it keeps and what it takes back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.state_cache import StateCache, cache_of, require_states
from mpcinfer.state_costs import kept_bytes, state_bytes
from parties.errors import ConfigError
from tests.mpcinfer.test_fss_states import FORMS
from tests.mpcinfer.three_parties import random_model

IDS = list(range(65, 85))
PASSES = [6, 1, 1, 3, 1, 1, 5, 1, 1]
forms = pytest.mark.parametrize("name", FORMS)


def session(model: Model, chunk: int, reversible: int = 0) -> Session[torch.Tensor, torch.Tensor]:
    weights = {name: value.double() for name, value in model.weights.items()}
    return Session(Decoder(PlainBackend(), model.config, weights), cache_of(chunk, reversible))


@forms
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_logits_are_those_over_keys_and_values(name: str, chunk: int) -> None:
    """Power 2 is exact: `methods.md` 2.2."""
    model = random_model(FORMS[name])
    kept, moving, at = session(model, 0), session(model, chunk), 0
    for count in PASSES:
        ids = IDS[at : at + count]
        at += count
        assert (moving.step(ids) - kept.step(ids)).abs().max() < 1e-10
    cache = moving.cache
    assert isinstance(cache, StateCache)
    before = len(IDS) - PASSES[-1]
    assert [state.keys for state in cache.states] == [before - before % chunk][: len(cache.states)]
    assert bool(cache.states) == (before >= chunk)


@forms
def test_fixed_point_is_near_it(name: str) -> None:
    model = random_model(FORMS[name])
    backend = FixedBackend()
    fixed = Session(Decoder(backend, model.config, backend.load(model.weights)), cache_of(4))
    plain, at = session(model, 0), 0
    for count in PASSES:
        ids = IDS[at : at + count]
        at += count
        right = plain.step(ids)
        assert (fixed.step(ids) - right).abs().max() < 0.02 * right.std()


def test_a_cache_keeps_as_much_as_is_said_however_long_the_text() -> None:
    model = random_model(dataclasses.replace(FORMS["plain"], context=256))
    running = session(model, 4)
    for at in range(0, 96, 4):
        running.step([at, at + 1, at + 2, at + 3])
    cache = running.cache
    assert isinstance(cache, StateCache)
    states = sum(state.sums.numel() for state in cache.states)
    assert 16 * states == state_bytes(model.config)
    held = sum(each.untyped_storage().nbytes() for each in (*cache.keys, *cache.values))
    assert 2 * held <= 2 * 4 * kept_bytes(model.config)  # two numbers each there, and one here


def test_drafts_are_taken_back_and_so_are_as_many_passes_as_are_kept() -> None:
    model = random_model(FORMS["offset"])
    kept, moving, twice = session(model, 0), session(model, 2), session(model, 2, reversible=2)
    for each in (kept, moving, twice):
        each.step(IDS[:5])
        each.step(IDS[5:9])
        each.rewind(6)  # three of four drafts were wrong; the pass began after five
    right = kept.step(IDS[9:11])
    assert all((each.step(IDS[9:11]) - right).abs().max() < 1e-10 for each in (moving, twice))
    with pytest.raises(ConfigError, match="cannot be told apart again"):
        moving.rewind(5)
    for each in (kept, twice):
        each.rewind(5)
    assert (twice.step(IDS[:3]) - kept.step(IDS[:3])).abs().max() < 1e-10
    twice.rewind(0)
    assert twice.cache.length == 0
    assert (twice.step(IDS) - session(model, 0).step(IDS)).abs().max() < 1e-10


def test_what_has_no_states_is_refused_by_name() -> None:
    config = FORMS["plain"]
    require_states(config, 1)
    for changed, chunk, words in (
        ({"power": 4}, 1, "this model has power 4"),
        ({"attention": "softmax"}, 1, "this model has softmax"),
        ({"qk_norm": True}, 1, "qk_norm"),
        ({}, 0, "--chunk 0"),
        ({}, 25, "--chunk 25"),
    ):
        with pytest.raises(ConfigError, match=words):
            require_states(dataclasses.replace(config, **changed), chunk)
    assert type(cache_of(0)) is KVCache
