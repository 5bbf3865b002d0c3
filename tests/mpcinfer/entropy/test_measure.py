"""Head entropies: known values, NaN told apart, float32 inside mixed precision."""

from __future__ import annotations

import math

import pytest
import torch

from mpcinfer.entropy.measure import causal_bound, head_entropies, row_entropies


def uniform(tokens: int) -> torch.Tensor:
    """Causal attention [1, 1, T, T] that spreads each row evenly."""
    return (torch.ones(tokens, tokens).tril() / torch.arange(1, tokens + 1)[:, None])[None, None]


@pytest.mark.parametrize(("tokens", "bound"), [(128, 3.8782), (256, 4.560), (512, 5.246)])
def test_uniform_causal_attention_reaches_the_bound(tokens: int, bound: float) -> None:
    found = head_entropies([[uniform(tokens)]])
    assert causal_bound(tokens) == pytest.approx(bound, abs=5e-4)  # four digits are published
    # float32 logarithms and 1e-9 beside weights of at least 1/T: relative errors below 1e-9 T and 2^-20.
    assert float(found.entropy[0, 0]) == pytest.approx(math.lgamma(tokens + 1) / tokens, rel=2**-18)
    assert found.tokens == tokens


def test_one_key_a_row_has_no_entropy() -> None:
    found = head_entropies([[torch.eye(16)[None, None]]])
    assert float(found.entropy[0, 0]) == 0
    assert float(found.nan_fraction[0, 0]) == 0


def test_nan_is_flagged_and_no_zero() -> None:
    weights = torch.cat([torch.eye(8)[None, None], torch.full((1, 1, 8, 8), torch.nan), uniform(8)], dim=1)
    weights[0, 2, 3, 0] = torch.nan
    found = head_entropies([[weights]])
    assert found.nan_fraction.tolist() == [[0.0, 1.0, 1 / 8]]
    assert float(found.entropy[0, 0]) == 0
    assert math.isnan(float(found.entropy[0, 1]))
    rest = [math.log(row) for row in range(1, 9) if row != 4]
    assert float(found.entropy[0, 2]) == pytest.approx(sum(rest) / 7, rel=1e-6)


def test_batches_are_averaged_over_windows() -> None:
    several = torch.cat([uniform(8), uniform(8), torch.eye(8)[None, None]])
    together, apart = (
        head_entropies([[several]]),
        head_entropies([[several[:1]], [several[1:]]]),
    )
    assert torch.equal(together.entropy, apart.entropy)
    assert float(together.entropy[0, 0]) == pytest.approx(causal_bound(8) * 2 / 3, rel=1e-6)


def test_entropy_is_float32_inside_mixed_precision_and_keeps_gradients_finite() -> None:
    weights = uniform(64).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = row_entropies(weights)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, row_entropies(weights))
    gradients = torch.autograd.grad(rows.sum(), weights)[0]
    assert gradients.isfinite().all()
