"""The learning rate's values, worked out by hand."""

from __future__ import annotations

import pytest

from mpcinfer.training.schedule import Schedule, decay_start, learning_rate


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (10, 1.0), (11, 0.9), (12, 0.8), (19, 0.1)],
)
def test_warmup_plateau_decay(step: int, expected: float) -> None:
    rate = learning_rate(step, steps=20, peak=2.0, warmup=4, decay=0.5)
    assert rate == pytest.approx(2.0 * expected)


def test_without_warmup_or_decay_the_rate_is_the_peak() -> None:
    assert {learning_rate(step, steps=5, peak=0.3, warmup=0, decay=0.0) for step in range(5)} == {0.3}


def test_overlapping_warmup_and_decay_take_the_smaller() -> None:
    rates = [learning_rate(step, steps=4, peak=1.0, warmup=4, decay=1.0) for step in range(4)]
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.25])


def test_the_plateau_does_not_depend_on_the_length() -> None:
    for step in range(int(decay_start(50, 0.4)) + 1):
        short = learning_rate(step, steps=50, peak=1.0, warmup=10, decay=0.4)
        assert short == learning_rate(step, steps=90, peak=1.0, warmup=10, decay=0.4)


def test_cosine_falls_in_half_a_wave() -> None:
    rates = [
        learning_rate(step, steps=8, peak=2.0, warmup=0, decay=0.5, schedule="cosine") for step in range(8)
    ]
    # cos^2 of 0, 22.5, 45 and 67.5 degrees, after the plateau.
    assert rates == pytest.approx([2.0] * 5 + [1.7071068, 1.0, 0.2928932])


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 0.55), ("cosine", 0.55), ("constant", 1.0)])
def test_rates_end_at_the_floor(schedule: Schedule, middle: float) -> None:
    def rate(step: int, steps: int) -> float:
        return learning_rate(step, steps=steps, peak=1.0, warmup=0, decay=1.0, schedule=schedule, floor=0.1)

    assert rate(50, 100) == pytest.approx(middle)
    assert rate(10**6 - 1, 10**6) == pytest.approx(1.0 if schedule == "constant" else 0.1, abs=1e-5)


def test_a_constant_rate_never_depends_on_the_length() -> None:
    assert decay_start(10, 0.5, "constant") == float("inf")
