"""The loss on protected data: what it is, where it comes to rest, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from mpcinfer.training.protected_data import (
    ProtectedDataLoss,
    barrier,
    cross_entropies,
    regression_objective,
)
from parties.errors import ConfigError


@pytest.mark.parametrize("gamma", [0.001, 0.005, 0.02, 0.05])
def test_the_regression_form_comes_to_rest_at_the_root_of_twice_gamma(gamma: float) -> None:
    """Newton's method on a free loss; l / 2 + gamma / l is convex."""
    loss = torch.tensor(math.sqrt(2 * gamma) * 1.5, dtype=torch.float64, requires_grad=True)
    for _ in range(60):
        value = regression_objective(loss, torch.zeros((), dtype=torch.float64), gamma)
        [slope] = torch.autograd.grad(value, loss, create_graph=True)
        [curvature] = torch.autograd.grad(slope, loss)
        with torch.no_grad():
            loss -= slope / curvature
    assert float(loss.detach()) == pytest.approx(math.sqrt(2 * gamma), rel=1e-9)


def test_the_barrier_is_the_quotient_and_below_its_end_the_tangent() -> None:
    losses = torch.tensor([2.0, 0.5, 0.25, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    values = barrier(losses, 3.0, 0.25)
    slopes = torch.autograd.grad(values.sum(), losses)[0]
    assert values.tolist() == pytest.approx([1.5, 6.0, 12.0, 12.0 + 48 * 0.15, 24.0])
    # -gamma / l^2, and -gamma / 0.25^2 from there on: never 0, never more.
    assert slopes[[0, 1, 3, 4]].tolist() == pytest.approx([-0.75, -12.0, -48.0, -48.0])


def losses_and_mask() -> tuple[torch.Tensor, torch.Tensor]:
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    mask = torch.tensor([[True, False, False, True], [True] * 4, [False] * 4])
    return losses, mask


def test_every_row_has_a_term_of_its_own() -> None:
    losses, mask = losses_and_mask()
    # Row 0: mean 2.5 of 2 tokens; row 1: mean 2 of 4; row 2: none. Of 12 tokens.
    expected = (2 * 3 / 2.5 + 4 * 3 / 2) / 12
    assert float(ProtectedDataLoss(gamma=3.0).term(losses, mask)) == pytest.approx(expected)
    # One term of the mean over all protected tokens, 13 / 6, would be another number.
    assert expected != pytest.approx(6 * 3 / (13 / 6) / 12, rel=1e-2)
    rows = torch.tensor([False, True, False])
    assert float(ProtectedDataLoss(gamma=3.0).term(losses, rows)) == pytest.approx(4 * 1.5 / 12)


def test_nothing_protected_costs_nothing() -> None:
    losses, mask = losses_and_mask()
    losses.requires_grad_()
    term = ProtectedDataLoss().term(losses, torch.zeros_like(mask))
    assert float(term.detach()) == 0
    assert not torch.autograd.grad(term, losses)[0].any()


def test_gradients_reach_the_logits_of_protected_tokens_alone() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.tensor([[0, 1, 2, 3]] * 3)
    _, mask = losses_and_mask()
    term = ProtectedDataLoss().term(cross_entropies(logits, targets), mask)
    gradient = torch.autograd.grad(term, logits)[0]
    assert torch.equal(gradient.abs().sum(-1) > 0, mask)
    # Uphill: a step down the term makes the protected tokens less probable.
    moved = cross_entropies(logits - 0.1 * gradient, targets)
    assert bool((moved[mask] > cross_entropies(logits, targets)[mask]).all())


def test_the_whole_loss_is_the_mean_and_the_term() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2, 3]] * 3)
    _, mask = losses_and_mask()
    loss = ProtectedDataLoss(gamma=0.5)
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    term = loss.term(cross_entropies(logits, targets), mask)
    assert float(loss(logits, targets, mask)) == pytest.approx(float(whole + term), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 4.0])
def test_language_models_come_to_rest_at_the_root_of_gamma(gamma: float) -> None:
    """Free logits, one row of two protected: the one rests at sqrt(gamma), the other goes to nothing.

    The half of the batch that is protected does not move the place: both parts of its loss have that weight.
    """
    logits = torch.zeros(2, 6, 9, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(12).view(2, 6) % 9
    optimizer = torch.optim.Adam([logits], lr=0.05)
    loss = ProtectedDataLoss(gamma=gamma)
    for _ in range(600):
        optimizer.zero_grad()
        loss(logits, targets, torch.tensor([True, False])).backward()
        optimizer.step()
    means = cross_entropies(logits, targets).mean(1)
    assert float(means[0].detach()) == pytest.approx(math.sqrt(gamma), rel=0.01)
    assert float(means[1].detach()) < 0.05


def test_what_is_learnt_by_heart_is_let_go_again() -> None:
    """From a loss of nearly 0, where gamma / l alone would overflow, back to sqrt(gamma)."""
    logits = torch.zeros(1, 4, 5, dtype=torch.float64)
    targets = torch.tensor([[0, 1, 2, 3]])
    logits.scatter_(2, targets[..., None], 12.0)
    logits.requires_grad_()
    loss, optimizer = ProtectedDataLoss(gamma=1.0), torch.optim.Adam([logits], lr=0.05)
    assert float(cross_entropies(logits, targets).mean().detach()) < 1e-4
    for _ in range(1000):
        optimizer.zero_grad()
        loss(logits, targets, torch.ones(1, 4, dtype=torch.bool)).backward()
        optimizer.step()
    assert float(cross_entropies(logits, targets).mean().detach()) == pytest.approx(1.0, rel=0.01)


def test_zeros_and_ones_are_no_mask() -> None:
    losses, mask = losses_and_mask()
    with pytest.raises(ConfigError, match=r"must be boolean, got torch\.int64"):
        ProtectedDataLoss().term(losses, mask.long())


def test_a_mask_of_another_shape_is_refused() -> None:
    losses, mask = losses_and_mask()
    with pytest.raises(ConfigError, match=r"must be \[3, 4\] or \[3\], got \[3, 2\]"):
        ProtectedDataLoss().term(losses, mask[:, :2])


@pytest.mark.parametrize(
    ("field", "value"),
    [("gamma", 0.0), ("gamma", math.inf), ("floor", 0.0), ("floor", 1.0), ("warmup", -1)],
)
def test_nonsense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        ProtectedDataLoss(**{field: value})
