"""What every protocol on shares must show; each check raises AssertionError where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mpcinfer.suites.registry import get_plan
from parties.bill import BillRow
from parties.meter import CLIENT, Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.plan import Plan
from protocols.share import Share
from tests.protocols.additive.crypten.conftest import Run, run_parties
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

Apply = Callable[[Arithmetic, Share], Share]
UNIT = 2.0**-16
PLAN = get_plan("crypten")


@dataclass(frozen=True)
class Case:
    """A protocol as the suite sees it.

    Attributes:
        apply: the protocol on one share.
        reference: the true function in float64.
        tolerance: stated error at every output, given the inputs.
        inputs: representative ones: dense over the domain, edges included, on the 16-bit grid.
        shapes: public input shapes to count costs for.
    """

    name: str
    apply: Apply
    reference: Callable[[torch.Tensor], torch.Tensor]
    tolerance: Callable[[torch.Tensor], torch.Tensor]
    inputs: Sequence[torch.Tensor]
    shapes: Sequence[tuple[int, ...]]

    def __str__(self) -> str:
        return self.name


def check_error(case: Case, inputs: Sequence[torch.Tensor] | None = None) -> None:
    """The result is within the stated error for every rounding that an executor may have."""
    for name, rounding in ROUNDINGS.items():
        for x in inputs if inputs is not None else case.inputs:
            executor = clear_executor(rounding)
            got = executor.open_to(CLIENT, case.apply(executor, share(executor, x)))
            _within(case, x, got, f"{case.name}, rounded to the {name}")


def check_tight(case: Case) -> None:
    """The stated error is at most twice the largest that happens."""
    worst = 0.0
    for rounding in ROUNDINGS.values():
        for x in case.inputs:
            executor = clear_executor(rounding)
            got = executor.open_to(CLIENT, case.apply(executor, share(executor, x)))
            stated = case.tolerance(x)
            off = torch.where(stated > 0, (got - case.reference(x)).abs() / stated, 1.0)
            worst = max(worst, float(off.max()))
    assert worst >= 0.5, f"{case.name}: the stated error is {1 / worst:.1f} times what happens"


def check_error_on_shares(case: Case, x: torch.Tensor) -> None:
    """The same on the CrypTen executor: two parties, a dealer, shares."""
    run = run_on_shares(case.apply, x)
    _within(case, x, run.results[CLIENT], f"{case.name} on shares")


def check_cost(case: Case, plan: Plan = PLAN) -> None:
    """Rounds and bytes, online and offline, by label: what is counted is what is measured."""
    for shape in case.shapes:
        measured = run_on_shares(case.apply, torch.zeros(shape, dtype=torch.float64), plan=plan).bill
        meter = Meter(timed=False)
        counter = CountingArithmetic.of_plan(plan, meter)
        x = counter.share_from(CLIENT, None, shape)
        with meter.span("protocol"):
            y = case.apply(counter, x)
        with meter.span("output"):
            counter.open_to(CLIENT, y)
        counted = meter.bill()
        assert all(row.seconds is None for row in counted.rows)
        assert _table(measured.rows) == _table(counted.rows), f"{case.name} of {list(shape)}"


def check_oblivious(case: Case, first: torch.Tensor, second: torch.Tensor) -> None:
    """Labels, number, order, widths and shapes of the frames are the same for different secrets."""
    seen = [_frames(run_on_shares(case.apply, x)) for x in (first, second)]
    assert seen[0] == seen[1], f"{case.name}: what is sent depends on the secret"


def run_on_shares(apply: Apply, x: torch.Tensor, *, plan: Plan = PLAN) -> Run:
    """Runs a protocol on the client's x and opens the result at the client."""

    def body(executor: Any) -> torch.Tensor | None:
        owned = executor.share_from(CLIENT, x if executor.rank == CLIENT else None, tuple(x.shape))
        with executor.meter.span("protocol"):
            result = apply(executor, owned)
        with executor.meter.span("output"):
            return executor.open_to(CLIENT, result)

    return run_parties(body, plan=plan)


def _within(case: Case, x: torch.Tensor, got: torch.Tensor, what: str) -> None:
    excess = (got - case.reference(x)).abs() - case.tolerance(x)
    worst = int(excess.argmax())
    assert float(excess.max()) <= 0, f"{what}: off by {float(excess.max()):.3g} too much at place {worst}"


def _table(rows: Sequence[BillRow]) -> dict[str, tuple[int, ...]]:
    """Every label's costs; labels that cost nothing but time are left out."""
    costs = {
        row.label: (
            row.rounds,
            row.online_bytes_to_server,
            row.online_bytes_to_client,
            row.offline_bytes_to_server,
            row.offline_bytes_to_client,
            row.offline_rounds,
            row.setup_rounds,
            row.setup_bytes,
        )
        for row in rows
    }
    return {label: cost for label, cost in costs.items() if any(cost)}


def _frames(run: Run) -> list[list[tuple[object, ...]]]:
    return [[(frame.label, frame.depth, frame.specs) for frame in channel.sent] for channel in run.channels]


def grid(low: float, high: float, count: int) -> torch.Tensor:
    """Evenly spaced numbers with both ends, on the 16-bit grid."""
    return on_grid(torch.linspace(low, high, count, dtype=torch.float64))
