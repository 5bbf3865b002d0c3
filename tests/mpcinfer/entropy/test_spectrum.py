"""Spectra of FFNs: known covariances, and what a model's FFN really multiplies."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.entropy.spectrum import Moments, Spectrum, divergence_of, ffn_spectra, shares_of, spectrum_of
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from tests.mpcinfer.models.paper import random_weights

CONFIG = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=40, context=12
)


def numbers(covariance: torch.Tensor) -> Spectrum:
    return spectrum_of(shares_of(covariance.double()))


def test_known_spectra() -> None:
    alike, single = numbers(torch.eye(8)), numbers(torch.ones(8, 8))
    assert dataclasses.astuple(alike) == pytest.approx((math.log(8), 8.0, 0.0), abs=1e-9)
    assert dataclasses.astuple(single) == pytest.approx((0.0, 1.0, 1 - 1 / 8), abs=1e-9)
    two = numbers(torch.diag(torch.tensor([1.0, 3.0])))
    assert two.entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert two.participation == pytest.approx(16 / 10)
    assert two.enrichment == pytest.approx((0.75 - 0.5) + (1 - 1))
    assert all(math.isnan(value) for value in dataclasses.astuple(numbers(torch.zeros(3, 3))))


def test_known_divergences() -> None:
    def of(*eigenvalues: float) -> torch.Tensor:
        return shares_of(torch.diag(torch.tensor(eigenvalues)).double())

    first, second = (0.75, 0.25), (0.5, 0.5)
    middle = [(p + q) / 2 for p, q in zip(first, second, strict=True)]
    right = sum(p * math.log(p / m) for row in (first, second) for p, m in zip(row, middle, strict=True)) / 2
    assert divergence_of(of(1.0, 3.0), of(2.0, 2.0)) == pytest.approx(right)
    assert divergence_of(of(1.0, 3.0), of(9.0, 3.0)) == pytest.approx(0.0, abs=1e-12)
    few, many = of(1.0, *[0.0] * 999), of(*[1.0] * 1000)
    assert math.log(2) - 0.01 < divergence_of(few, many) < math.log(2)


def test_a_mean_is_no_direction() -> None:
    x = torch.randn(4, 50, 6, generator=torch.Generator().manual_seed(1)).double()
    plain, moved = Moments(), Moments()
    for rows in x:
        plain.add(rows)
    moved.add(x + 100.0)
    assert torch.allclose(moved.shares(), plain.shares(), rtol=1e-6)


def test_an_ffn_is_seen_before_and_after_its_nonlinearity() -> None:
    """A linear FFN spreads nothing; one whose hidden numbers are one number repeated has one direction before
    ReLU, and at most two after it."""
    tokens = [torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(2))]
    linear = variant("SM+LN", CONFIG)
    for each in ffn_spectra(linear, random_weights(linear), tokens):
        assert each.before == each.after
        assert each.divergence == 0.0
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
        assert each.after.enrichment < each.before.enrichment == pytest.approx(1 - 1 / 24)
        assert 0.0 < each.divergence < math.log(2)


def test_models_without_a_nonlinearity_have_none() -> None:
    config = variant("SM+ScFuFFN", CONFIG)
    assert ffn_spectra(config, random_weights(config), [torch.zeros(1, 4, dtype=torch.int64)]) == []
