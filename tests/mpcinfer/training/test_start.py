"""A softmax model as the start of one with power attention: queries over the power."""

from __future__ import annotations

import dataclasses

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.training.start import Start, begun_as_powers
from mpcinfer.training.weights import initial_weights
from tests.mpcinfer.three_parties import byte_tokenizer

SOFTMAX = ModelConfig(
    layers=1, width=8, heads=2, kv_heads=1, head_width=4, hidden=16, vocabulary=256, context=8
)


def start(config: ModelConfig) -> Start:
    return Start(config=config, weights=initial_weights(config, 0), tokenizer=byte_tokenizer())


def test_queries_are_divided_by_the_power_and_nothing_else_changes() -> None:
    begun, before = begun_as_powers(start(SOFTMAX), variant("poly", SOFTMAX)), start(SOFTMAX).weights
    for name, value in before.items():
        if ".attn.qkv." in name:
            assert torch.equal(begun[name][..., :8], value[..., :8] / 4)
            assert torch.equal(begun[name][..., 8:], value[..., 8:])
        else:
            assert torch.equal(begun[name], value)


def test_other_pairs_are_taken_over_as_they_are() -> None:
    power = variant("power2", SOFTMAX)
    for earlier, later in (
        (SOFTMAX, SOFTMAX),
        (power, power),
        (power, SOFTMAX),
        (SOFTMAX, dataclasses.replace(power, heads=1)),
    ):
        given = start(earlier)
        assert begun_as_powers(given, later) is given.weights
