"""Gradients of a text reconstruct it, the span check names its tokens, and noise hides both at a price."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
import torch

from mpcinfer.audit import defence, utility
from mpcinfer.audit.algebra import gaussian, length
from mpcinfer.audit.gradients import Classifier
from mpcinfer.audit.inversion import row_error
from mpcinfer.audit.least_squares import levenberg_marquardt
from mpcinfer.audit.shared_gradients import NoiseRow, inversion_row, noise_rows, span_recovery
from mpcinfer.audit.span import tokens_in_span
from parties.errors import ConfigError


def test_lm_reconstructs_a_text_exactly_and_lbfgs_does_not() -> None:
    row = inversion_row(3, pooled=False, lm_restarts=2, lbfgs_restarts=1)
    assert (row.rank, row.lm.exact) == (48, True)
    assert row.lm.row_error < 1e-24
    assert not row.lbfgs.exact
    assert not row.noisy.exact


def test_lm_finds_the_root_of_a_function_that_is_not_linear() -> None:
    """Rosenbrock's, whose only root is (1, 1)."""
    fit = levenberg_marquardt(
        lambda x: torch.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]]),
        torch.tensor([-1.2, 1.0], dtype=torch.float64),
    )
    assert torch.allclose(fit.x, torch.ones(2, dtype=torch.float64))


def test_gradients_are_those_of_autograd() -> None:
    model = Classifier.random(4, 3, pooled=False)
    x, labels = gaussian((5, 4), torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    for each in model.weights.values():
        each.requires_grad_()
    torch.autograd.backward(model.loss(model.weights, x, labels))
    expected = torch.cat([each.grad.reshape(-1) for each in model.weights.values() if each.grad is not None])
    assert torch.allclose(model.flat_gradients(x, labels), expected)


def test_rows_may_change_places() -> None:
    x = gaussian((4, 3), torch.Generator().manual_seed(0))
    assert row_error(x.flip(0), x) == pytest.approx(0.0, abs=1e-12)
    assert row_error(x + 1.0, x) > 0.1


def test_the_span_names_every_token_until_noise_is_as_long_as_the_gradient() -> None:
    entries = 3 * 32**2 + 32 * 10
    rates = {
        sigma: sum(span_recovery(number, sigma / entries**0.5) for number in range(20)) / 20
        for sigma in (0.0, 1e-4, 0.1, 100.0)
    }
    assert rates[0.0] == rates[1e-4] == 1.0
    assert 0.7 < rates[0.1] < 1.0
    assert (
        rates[100.0] < 0.12
    )  # guessing names 6 of 200, and 20 texts 120 tokens: 8 or fewer are five sigmas off


def test_the_span_of_known_rows() -> None:
    table = torch.eye(8, dtype=torch.float64)
    gradient = table[[2, 5]].T @ gaussian((2, 8), torch.Generator().manual_seed(0))
    assert sorted(tokens_in_span(gradient, table, 2)) == [2, 5]


def test_clipping_keeps_direction_and_short_gradients() -> None:
    long, short = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    both = defence.clipped(torch.stack([long, short]), 1.0)
    assert torch.allclose(both, torch.stack([long / 5.0, short]))
    noise = defence.noised(torch.zeros(10_000).double(), 2.0, 3.0, torch.Generator().manual_seed(0))
    assert float(length(noise)) / 100.0 == pytest.approx(6.0, rel=0.05)  # seven standard errors of 10,000


def test_the_gaussian_mechanism_of_one_release() -> None:
    assert defence.gaussian_multiplier(1.0) == pytest.approx(4.84, abs=0.005)
    assert defence.gaussian_multiplier(0.5) == pytest.approx(9.69, abs=0.005)
    for epsilon in (0.0, 1.5):
        with pytest.raises(ConfigError, match=f"epsilon {epsilon:g}: .*ask the accountant"):
            defence.gaussian_multiplier(epsilon)


def test_without_an_accountant_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"opacus: .* -m pip install 'mpcinfer\[audit\]'.*--no-accountant"):
        noise_rows((1.0,), texts=1, account=True)


@pytest.mark.filterwarnings("ignore")
def test_the_accountant_counts_less_than_the_formula_and_more_for_more_steps() -> None:
    pytest.importorskip("opacus")
    once = defence.epsilon_spent(defence.gaussian_multiplier(1.0), 1)
    assert 0.5 < once < 1.0
    assert once < defence.epsilon_spent(defence.gaussian_multiplier(1.0), 4)


def test_noise_costs_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "_STEPS", 120)
    quiet, loud = noise_rows((0.0, 100.0), texts=2, account=False)
    assert isinstance(quiet, NoiseRow)
    assert (quiet.epsilon, loud.multiplier) == (None, pytest.approx(100.0 / 3392**0.5))
    assert quiet.accuracy > 0.4
    assert loud.accuracy < 0.2
