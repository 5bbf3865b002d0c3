"""Wrappers around every optimizer of torch: states, groups, closures and schedules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau

from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.optimizer_wrapper import OptimizerWrapper
from mpcinfer.training.random_vector_accelerating import RandomVectorAccelerating
from mpcinfer.training.reject_accelerating import RejectAccelerating
from parties.errors import ConfigError

Wrap = Callable[[optim.Optimizer], OptimizerWrapper]
WRAPPERS: dict[str, Wrap] = {
    "reject": RejectAccelerating,
    "random": RandomVectorAccelerating,
    "rdbd": RegrettableDeltaBarDelta,
    "rdbd of reject": lambda base: RegrettableDeltaBarDelta(RejectAccelerating(base)),
    "rdbd of random": lambda base: RegrettableDeltaBarDelta(RandomVectorAccelerating(base)),
}
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    name: getattr(optim, name)
    for name in optim.__all__
    if name not in ("Optimizer", "SGD", "SparseAdam", "LBFGS")
    and isinstance(getattr(optim, name), type)
    and issubclass(getattr(optim, name), optim.Optimizer)
}
OPTIMIZERS["SGD"] = lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True)
OPTIMIZERS["LBFGS"] = lambda parameters: optim.LBFGS(parameters, lr=0.5, max_iter=3)
OPTIMIZERS["fused AdamW"] = lambda parameters: optim.AdamW(parameters, fused=True)

INPUTS = torch.randn(12, 3, generator=torch.Generator().manual_seed(5))


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(7)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (4, 2))]


def steps(
    weights: list[torch.nn.Parameter], optimizer: optim.Optimizer, first: int, last: int
) -> list[float]:
    """Losses of steps with closures, each on another row."""

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (torch.tanh(INPUTS[place[0]] @ weights[0]) @ weights[1] - 1).square().mean()
        loss.backward()
        return loss

    losses: list[float] = []
    place = [first]
    while place[0] < last:
        losses.append(float(optimizer.step(closure).detach()))
        place[0] += 1
    return losses


def test_every_optimizer_of_torch_is_here() -> None:
    assert len(OPTIMIZERS) >= 13


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_goes_on_bit_by_bit(name: str, wrapper: str) -> None:
    """Through torch.save's form, into fresh optimizers around fresh parameters."""
    unbroken = parameters()
    optimizer = WRAPPERS[wrapper](OPTIMIZERS[name](unbroken))
    steps(unbroken, optimizer, 0, 5)
    kept = copy.deepcopy(optimizer.state_dict())
    weights = [weight.detach().clone() for weight in unbroken]
    expected = steps(unbroken, optimizer, 5, 12)
    resumed = [torch.nn.Parameter(weight) for weight in weights]
    again = WRAPPERS[wrapper](OPTIMIZERS[name](resumed))
    again.load_state_dict(kept)
    assert steps(resumed, again, 5, 12) == expected
    for weight, other in zip(unbroken, resumed, strict=True):
        assert torch.equal(weight, other)
    assert again.told() == optimizer.told()


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_state_survives_a_file_of_weights_only(wrapper: str, tmp_path: Any) -> None:
    weights = parameters()
    optimizer = WRAPPERS[wrapper](optim.AdamW(weights))
    steps(weights, optimizer, 0, 3)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    steps(weights, optimizer, 3, 5)


@pytest.mark.parametrize("wrapper", ["reject", "random", "rdbd"])
def test_the_state_of_another_optimizer_is_refused(wrapper: str) -> None:
    optimizer = WRAPPERS[wrapper](optim.SGD(parameters(), lr=0.1))
    with pytest.raises(ConfigError, match=r"has no .*: it is not of a"):
        optimizer.load_state_dict(optim.SGD(parameters(), lr=0.1).state_dict())


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_groups_are_those_of_the_wrapped_optimizer(wrapper: str) -> None:
    """Also after a state was loaded and a group added; each with a rate of its own."""
    first, second, third = *parameters(), torch.nn.Parameter(torch.ones(2))
    base = optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.0}], lr=0.5)
    optimizer = WRAPPERS[wrapper](base)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.add_param_group({"params": [third], "lr": 0.2})
    assert optimizer.param_groups is base.param_groups
    assert [group["lr"] for group in base.param_groups] == [0.1, 0.0, 0.2]
    before = [weight.detach().clone() for weight in (first, second, third)]
    for weight in (first, second, third):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, (first, second, third), strict=True)]
    assert moved == [True, False, True]
    optimizer.zero_grad()
    assert third.grad is None


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_schedules_set_the_rate_that_steps_are_taken_at(wrapper: str) -> None:
    """One gradient: nothing rejected and no adjustment yet, so that a plain step has the scheduled rate."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = WRAPPERS[wrapper](optim.SGD([weight], lr=1.0))
    schedule = LambdaLR(optimizer, lambda step: 0.5**step)
    weight.grad = torch.zeros(1)
    optimizer.step()
    schedule.step()
    weight.grad = torch.ones(1)
    optimizer.step()
    # Of one parameter a random vector makes the gradient three times as long: c = 1.
    assert float(weight.detach()) == pytest.approx(-1.5 if "random" in wrapper else -0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_other_schedules_go_with_them(wrapper: str) -> None:
    weights = parameters()
    optimizer = WRAPPERS[wrapper](optim.AdamW(weights, lr=1.0))
    cosine, plateau = CosineAnnealingLR(optimizer, 4), ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    steps(weights, optimizer, 0, 1)
    cosine.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx((1 + 0.5**0.5) / 2)
    plateau.step(1.0)
    plateau.step(2.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx((1 + 0.5**0.5) / 20)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_closures_are_called_as_often_as_without(wrapper: str) -> None:
    """Once by AdamW; by L-BFGS as often as it asks, and never for the gradient that is there."""
    calls: list[int] = []
    for wrapped in (False, True):
        weight, count = torch.nn.Parameter(torch.tensor([3.0])), [0]
        base = optim.LBFGS([weight], lr=0.1, max_iter=4)
        optimizer = WRAPPERS[wrapper](base) if wrapped else base

        def closure(
            weight: torch.nn.Parameter = weight,
            count: list[int] = count,
            optimizer: optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            count[0] += 1
            optimizer.zero_grad()
            loss = weight.square().sum() / 2
            loss.backward()
            return loss

        assert float(optimizer.step(closure).detach()) == 4.5
        calls.append(count[0])
    assert calls[0] == calls[1] == 4


def test_sparse_gradients_are_gradients() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 2))
    optimizer = RejectAccelerating(optim.SparseAdam([weight], lr=0.1))
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([1, 1]), weight, sparse=True).sum().backward()
        optimizer.step()
    assert (weight.detach() != 0).any(1).tolist() == [False, True, False, False]


def test_a_step_without_gradients_is_none() -> None:
    for wrap in WRAPPERS.values():
        weights = parameters()
        optimizer = wrap(optim.AdamW(weights))
        assert optimizer.step() is None
        assert all(torch.equal(a, b) for a, b in zip(weights, parameters(), strict=True))
