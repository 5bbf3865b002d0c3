"""A learning rate that follows the agreement of gradients, and takes back what was wrong."""

from __future__ import annotations

import pytest
import torch

from mpcinfer.training.delta_bar_delta import LARGEST, SMALLEST, Control, RegrettableDeltaBarDelta
from parties.errors import ConfigError


def test_an_adjustment_followed_by_an_opposite_sign_is_undone_exactly() -> None:
    start = Control(factor=0.7, before=0.6, agreement=0.2)
    for first, second in ((0.9, -0.4), (-0.3, 0.8)):
        same_sign = Control(start.factor, start.before, first)
        raised = same_sign.adjusted(first, 0.05)
        assert raised.factor == 0.7 * (1 + 0.05 * first)
        undone = raised.adjusted(second, 0.05)
        assert undone.before == 0.7  # the very bits from before the adjustment
        assert undone.factor == 0.7 * (1 + 0.05 * second)
        kept = raised.adjusted(second, 0.05, regret=False)
        assert kept.before == raised.factor


def test_agreement_of_the_same_sign_goes_on() -> None:
    control = Control()
    for _ in range(3):
        control = control.adjusted(0.5, 0.1)
    assert control.factor == pytest.approx(1.05**3)
    assert control.adjusted(0.0, 0.1).factor == control.factor  # 0 is no opposite sign


def test_factors_stay_within_bounds() -> None:
    control = Control()
    for _ in range(200):
        control = control.adjusted(1.0, 0.9)
    assert control.factor == LARGEST
    for _ in range(400):
        control = control.adjusted(-1.0, 0.5)
    assert control.factor == SMALLEST


def run(gradients: list[list[float]], kappa: float = 0.1) -> list[float]:
    """Factors of plain descent with given gradients, checked against its moves."""
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = RegrettableDeltaBarDelta(torch.optim.SGD([parameter], lr=0.5), kappa)
    factors: list[float] = []
    for gradient in gradients:
        start = parameter.detach().clone()
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        factors.append(optimizer.control.factor)
        move = (start - parameter.detach()).tolist()
        assert move == pytest.approx([0.5 * factors[-1] * g for g in gradient], abs=1e-12)
        assert optimizer.param_groups[0]["lr"] == 0.5
    return factors


def test_factors_follow_the_cosines_of_gradients() -> None:
    # Cosines: none yet, 1, 0, 0.6, -0.6 (the 0.6 before it is undone), -1, 1 (that -1 is undone).
    gradients = [[1, 0], [2, 0], [0, 3], [4, 3], [4, -3 - 50 / 3], [-4, 3 + 50 / 3], [-4, 3 + 50 / 3]]
    x, y = torch.tensor([4.0, 3.0]), torch.tensor([4.0, -3 - 50 / 3])
    h = float(x @ y / x.norm() / y.norm())
    assert h < 0
    a = 1.1
    b = a * 1.06
    assert run(gradients) == pytest.approx(
        [1.0, a, a, b, a * (1 + 0.1 * h), a * (1 + 0.1 * h) * 0.9, a * (1 + 0.1 * h) * 1.1], rel=1e-6
    )


def test_a_zero_gradient_says_nothing() -> None:
    assert run([[1, 1], [0, 0], [1, 1], [1, 1]]) == [1.0, 1.0, 1.0, pytest.approx(1.1)]


@pytest.mark.parametrize("kappa", [0.0, 1.0, -0.1])
def test_nonsense_is_refused(kappa: float) -> None:
    with pytest.raises(ConfigError, match="kappa"):
        RegrettableDeltaBarDelta(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), kappa)
