"""Reject and Random-Vector Accelerating: the identities of the framework, and when a step is replaced."""

from __future__ import annotations

import math

import pytest
import torch

from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.random_vector_accelerating import (
    RandomVectorAccelerating,
    accelerated,
    bound_ratio,
)
from mpcinfer.training.reject_accelerating import RejectAccelerating
from parties.errors import ConfigError


def flat(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("seed", range(8))
def test_the_identities_of_the_framework(seed: int) -> None:
    """|g| = |grad| on negative steps; <grad, g> = (1 + 2c)|grad|^2 and |g|^2 = (1 + 8c)|grad|^2 on others."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 4), (5,), ())
    gradient, vector = (
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(2)
    )
    for sign in (1.0, -1.0):
        v = [sign * part for part in vector]
        g, grad, whole = flat(accelerated(gradient, v)), flat(gradient), flat(v)
        product = float(whole @ grad)
        c = product**2 / float(whole @ whole) / float(grad @ grad)
        square = float(grad @ grad)
        if product >= 0:
            assert float(grad @ g) == pytest.approx((1 + 2 * c) * square, rel=1e-12)
            assert float(g @ g) == pytest.approx((1 + 8 * c) * square, rel=1e-12)
        else:
            assert float(g.norm()) == pytest.approx(float(grad.norm()), rel=1e-12)
            assert float(grad @ g) == pytest.approx((1 - 2 * c) * square, rel=1e-12)


def test_the_bound_promises_nothing() -> None:
    """At least 1 everywhere, 1 at the ends, and largest at c = 1/4."""
    ratios = [bound_ratio(k / 1000) for k in range(1001)]
    assert min(ratios) >= 1
    assert (ratios[0], ratios[-1]) == (1.0, 1.0)
    assert max(ratios) == ratios[250] == pytest.approx(math.sqrt(4 / 3), rel=1e-12)


def test_random_vectors_lengthen_the_step_they_are_given() -> None:
    """Every step of plain descent is at least the gradient's, by (1 + 2c) along it; gradients stay."""
    parameter = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    gradient = torch.arange(1.0, 7.0, dtype=torch.float64)
    optimizer = RandomVectorAccelerating(torch.optim.SGD([parameter], lr=1.0), seed=4)
    moves: list[torch.Tensor] = []
    for _ in range(50):
        start = parameter.detach().clone()
        parameter.grad = gradient
        optimizer.step()
        assert parameter.grad is gradient
        moves.append(start - parameter.detach())
    square = float(gradient @ gradient)
    cosines = [(float(move @ gradient) / square - 1) / 2 for move in moves]
    assert all(0 <= c <= 1 for c in cosines)
    for c, move in zip(cosines, moves, strict=True):
        assert float(move @ move) == pytest.approx((1 + 8 * c) * square, rel=1e-9)
    # c of six parameters is 1/6 in the mean; its deviation sqrt(2 * 5 / 8) / 6 = 0.19, of a mean of 50 0.026.
    assert sum(cosines) / 50 == pytest.approx(1 / 6, abs=4 * 0.026)


def quadratic(
    rate: float, wrapped: bool, momentum: float = 0.9
) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    parameter = torch.nn.Parameter(torch.tensor([4.0, -3.0], dtype=torch.float64))
    optimizer: torch.optim.Optimizer = torch.optim.SGD([parameter], lr=rate, momentum=momentum)
    return parameter, RejectAccelerating(optimizer) if wrapped else optimizer


def step(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """A step on |x|^2 / 2; returns the gradient, x, that it was taken with."""
    optimizer.zero_grad()
    (parameter.square().sum() / 2).backward()
    assert parameter.grad is not None
    gradient = parameter.grad.clone()
    optimizer.step()
    return gradient


def test_momentum_against_the_gradient_is_replaced_by_a_plain_step() -> None:
    """Descent overshoots the least: from there on momentum points uphill until it has turned."""
    parameter, optimizer = quadratic(0.3, wrapped=True)
    assert isinstance(optimizer, RejectAccelerating)
    velocity, seen, rejected = torch.zeros(2, dtype=torch.float64), set[bool](), False
    for _ in range(30):
        start = parameter.detach().clone()
        before = optimizer.rejected
        gradient = step(parameter, optimizer)
        acceleration = 0.9 * velocity
        velocity = acceleration + gradient
        rejected = float(acceleration @ gradient) < 0
        used = gradient if rejected else velocity
        assert optimizer.rejected - before == int(rejected)
        assert parameter.detach().tolist() == pytest.approx((start - 0.3 * used).tolist(), abs=1e-15)
        seen.add(rejected)
    assert seen == {True, False}
    assert optimizer.moves == 30
    assert (
        optimizer.told() == {"rejected_moves": float(seen == {True})} or "rejected_moves" in optimizer.told()
    )


def test_nothing_is_rejected_without_acceleration() -> None:
    """Plain descent is its own plain step, to the last bit."""
    wrapped, plain = quadratic(0.3, True, momentum=0.0), quadratic(0.3, False, momentum=0.0)
    for _ in range(20):
        step(*wrapped)
        step(*plain)
    assert torch.equal(wrapped[0], plain[0])
    assert isinstance(wrapped[1], RejectAccelerating)
    assert wrapped[1].rejected == 0


def test_uphill_is_down_where_a_group_maximises() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = RejectAccelerating(torch.optim.SGD([parameter], lr=0.1, momentum=0.9, maximize=True))
    for slope, expected in ((1.0, 1.1), (1.0, 1.29), (-1.0, 1.19)):  # the third's momentum, +0.81, is dropped
        parameter.grad = torch.tensor([slope], dtype=torch.float64)
        optimizer.step()
        assert float(parameter.detach()) == pytest.approx(expected, abs=1e-12)
    assert optimizer.rejected == 1


def test_rejection_damps_the_swings_of_momentum() -> None:
    """On |x|^2 / 2 momentum of 0.9 swings for long, sqrt(0.9) a step at best; plain steps of 1.5 halve."""
    sizes: dict[bool, float] = {}
    for wrapped in (True, False):
        parameter, optimizer = quadratic(1.5, wrapped)
        for _ in range(60):
            step(parameter, optimizer)
        sizes[wrapped] = float(parameter.detach().norm())
    assert sizes[True] < 0.1 * sizes[False]


def test_a_controller_goes_outside() -> None:
    controller = RegrettableDeltaBarDelta(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
    with pytest.raises(ConfigError, match="wrap it by RegrettableDeltaBarDelta"):
        RejectAccelerating(controller)
