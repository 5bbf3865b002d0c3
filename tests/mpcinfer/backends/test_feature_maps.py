"""Attention over sums of features, in float."""

import pytest
import torch

from mpcinfer.backends.feature_maps import features_of, pairs_of_keys, with_one
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_state import AttentionState, FeatureMap, check_features, feature_count
from mpcinfer.models.config import AttentionForm
from parties.errors import ConfigError

HEADS, TOKENS, WIDTH = 3, 5, 16


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize("prefix", [16, 1000])
def test_squares_over_a_state_are_those_over_its_keys(shift: float, prefix: int) -> None:
    """Source: `methods.md` 2.2: power 2 is exact, epsilon for every key included."""
    form, backend = AttentionForm("power", 2, 1e-3, shift), PlainBackend()
    q = _random(1, HEADS, TOKENS, WIDTH)
    k, v = (_random(1, HEADS, prefix + TOKENS, WIDTH) + at for at in (0.0, 0.1))
    expected = backend.attention(q, k, v, prefix, form)
    seen = k[..., :prefix, :]
    if shift:
        seen = torch.cat([seen, torch.full_like(seen[..., :1], shift)], -1)
    ones = torch.ones(1, HEADS, prefix, 1, dtype=torch.float64)
    sums = pairs_of_keys(seen).transpose(-1, -2) @ torch.cat([v[..., :prefix, :], ones], -1)
    assert sums.shape[-2] == feature_count("pairs", WIDTH, shifted=bool(shift))
    state = AttentionState("pairs", sums, torch.full((1, HEADS, 1, 1), form.epsilon * prefix).double())
    own = (each[..., prefix:, :] for each in (k, v))
    assert (backend.attention(q, *own, 0, form, state=state) - expected).abs().max() < 1e-10
    assert features_of(with_one(q, form, None), "pairs").shape[-1] == sums.shape[-2]


@pytest.mark.parametrize("features", ["square", "elu"])
def test_an_empty_state_changes_nothing_and_a_full_one_is_added_to_both_sums(features: FeatureMap) -> None:
    form, backend = AttentionForm(), PlainBackend()
    q, k, v = (_random(1, HEADS, TOKENS, WIDTH) * at for at in (1.0, 0.3, 2.0))
    expected = backend.attention(q, k, v, 0, form)
    sums = torch.zeros(1, HEADS, WIDTH, WIDTH + 1, dtype=torch.float64)
    given = backend.attention(q, k, v, 0, form, state=AttentionState(features, sums))
    assert (given - expected).abs().max() < 1e-10
    sums[..., -1] = 1e9  # all weight on a prefix whose values are 0
    given = backend.attention(q, k, v, 0, form, state=AttentionState(features, sums))
    assert given.abs().max() < 1e-3


def test_features_for_another_attention_are_refused() -> None:
    check_features("pairs", "power", 2)
    check_features("elu", "softmax", 4)
    for features, kind, power in (("pairs", "power", 4), ("pairs", "softmax", 2), ("square", "power", 2)):
        with pytest.raises(ConfigError, match=f"features {features} are for"):
            check_features(features, kind, power)  # type: ignore[arg-type]
