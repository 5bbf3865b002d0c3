"""Caps of scores in fixed point and on additive shares: within the errors that are documented."""

from __future__ import annotations

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.models.kinds import AttentionForm
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.registry import get_plan
from protocols.additive.registry import resolve
from protocols.arithmetic.tanh import PiecewiseTanh
from protocols.fixed_point import decode
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

TOKENS = 40


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("cap", [0.3, 3.0, 50.0])
def test_capped_scores_are_within_their_error(cap: float, rounding: str) -> None:
    scores = on_grid(torch.linspace(-4.5 * cap, 4.5 * cap, TOKENS**2)).reshape(1, 1, TOKENS, TOKENS)
    executor = clear_executor(ROUNDINGS[rounding])
    backend = SecureBackend(executor, resolve(get_plan("crypten")), vocabulary=2)
    y = backend.cap_scores(share(executor, scores), 0, AttentionForm(cap=cap))
    found = executor.decode(y.value, y.frac_bits)
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    error = (found - cap * torch.tanh(scores / cap))[..., seen].abs().max()
    # The argument, up to 4.5, is off by two units and by its factor's 2^-17 of itself; the product by the
    # cap's 2^-17 and a unit.
    rounded = 2.0**-16 * (cap * (2 + 4.5 / 2) + 0.5 + 1)
    assert float(error) <= cap * PiecewiseTanh.max_abs_error + rounded
    assert not found[..., ~seen].any()


@pytest.mark.parametrize("cap", [0.5, 50.0])
def test_the_fixed_point_reference_rounds_the_true_one(cap: float) -> None:
    scores = torch.arange(-(2**23), 2**23, 4099).reshape(1, 1, 1, -1)
    result = FixedBackend(16).cap_scores(scores, 0, AttentionForm(cap=cap))
    true = cap * torch.tanh(decode(scores, 16) / cap)
    assert float((decode(result, 16) - true).abs().max()) <= 2.0**-17 + 2.0**-36
