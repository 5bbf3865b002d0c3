"""Spectra of FFNs: known covariances, and what a model's FFN really multiplies."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.entropy.spectrum import Moments, ffn_spectra, spectrum_of
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from tests.mpcinfer.models.paper import random_weights

CONFIG = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=40, context=12
)


def test_known_spectra() -> None:
    alike, single = spectrum_of(torch.eye(8).double()), spectrum_of(torch.ones(8, 8).double())
    assert (alike.entropy, alike.participation) == pytest.approx((math.log(8), 8.0))
    assert (single.entropy, single.participation) == pytest.approx((0.0, 1.0), abs=1e-9)
    two = spectrum_of(torch.diag(torch.tensor([3.0, 1.0])).double())
    assert two.entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert two.participation == pytest.approx(16 / 10)
    assert math.isnan(spectrum_of(torch.zeros(3, 3).double()).entropy)


def test_a_mean_is_no_direction() -> None:
    x = torch.randn(4, 50, 6, generator=torch.Generator().manual_seed(1)).double()
    plain, moved = Moments(), Moments()
    for rows in x:
        plain.add(rows)
    moved.add(x + 100.0)
    assert moved.spectrum().participation == pytest.approx(plain.spectrum().participation, rel=1e-6)


def test_an_ffn_is_seen_before_and_after_its_nonlinearity() -> None:
    """A linear FFN spreads nothing; one whose hidden numbers are one number repeated has one direction before
    ReLU, and at most two after it."""
    tokens = [torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(2))]
    linear = variant("SM+LN", CONFIG)
    for each in ffn_spectra(linear, random_weights(linear), tokens):
        assert each.before == each.after
    config = dataclasses.replace(variant("SM+LN+R", CONFIG), ffn_bias=False)
    weights = random_weights(config)
    line = torch.cat([torch.ones(12), -torch.ones(12)]).double()
    for layer in range(config.layers):
        column = weights[f"layer{layer}.ffn.in.weight"][:, :1]
        weights[f"layer{layer}.ffn.in.weight"] = column * line
    spectra = ffn_spectra(config, weights, tokens)
    assert [each.layer for each in spectra] == [0, 1]
    for each in spectra:
        assert each.before.participation == pytest.approx(1.0)
        assert 1.001 < each.after.participation <= 2.0 + 1e-9


def test_models_without_a_nonlinearity_have_none() -> None:
    config = variant("SM+ScFuFFN", CONFIG)
    assert ffn_spectra(config, random_weights(config), [torch.zeros(1, 4, dtype=torch.int64)]) == []
