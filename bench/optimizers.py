"""Optimizers that reject or lengthen steps, and a controller of the learning rate, on small problems.

    python -m bench.optimizers

A two-layer network learns another one's answers from noisy batches, under first rates of two decades and
under rates up to where nothing converges; a small decoder with power attention does the latter too. Appends
to bench/records/optimizers.jsonl; `python -m bench.tables` then writes docs/methods/optimizers.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Adam, Optimizer

from bench.markdown import table
from bench.records import RECORDS, commit
from mpcinfer.benchmark.machine import machine
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.batches import Batches
from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.random_vector_accelerating import RandomVectorAccelerating, bound_ratio
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.reject_accelerating import RejectAccelerating
from mpcinfer.training.trainer import TrainingState

FILE = RECORDS / "optimizers.jsonl"
STEPS, SHORT, LAST, BATCH, SEEDS = 800, 250, 100, 32, (0, 1, 2)
INPUTS, HIDDEN, NOISE = 8, 32, 0.1
TARGET = 0.02
"""Loss, beside the noise, that `steps to target` waits for."""
STABLE = 0.1
"""A run that ends below this loss has converged, if not to its best; networks begin above twice that."""
TWO_DECADES = tuple(0.003 * 10 ** (k / 2) for k in range(5))
COSINES = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)

Make = Callable[[list[torch.nn.Parameter], float], Optimizer]
PLAIN: dict[str, Make] = {
    "SGD": lambda parameters, rate: SGD(parameters, lr=rate),
    "momentum": lambda parameters, rate: SGD(parameters, lr=rate, momentum=0.9),
    "Adam": lambda parameters, rate: Adam(parameters, lr=rate),
}
CONTROLLED: dict[str, Make] = {
    "plain": PLAIN["SGD"],
    "DBD": lambda parameters, rate: RegrettableDeltaBarDelta(SGD(parameters, lr=rate), regret=False),
    "RDBD": lambda parameters, rate: RegrettableDeltaBarDelta(SGD(parameters, lr=rate)),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        loss: on fresh inputs without noise; infinite where a value was not finite.
        reached: the step at which that was below `TARGET` first, looked at every 25 steps; None for never.
        factor: what a controller multiplied the rate by in the end.
        rejected: fraction of moves that were rejected.
    """

    loss: float
    reached: int | None
    factor: float
    rejected: float


def learnt(make: Make, rate: float, seed: int, steps: int = STEPS) -> Outcome:
    """A network of tanh units learns another of half its size."""
    generator = torch.Generator().manual_seed(seed)

    def network(hidden: int) -> list[torch.Tensor]:
        shapes = ((INPUTS, hidden), (hidden,), (hidden, 1))
        return [torch.randn(shape, generator=generator) / math.sqrt(shape[0]) for shape in shapes]

    def answers(weights: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ weights[0] + weights[1]) @ weights[2]

    teacher = network(HIDDEN // 2)
    student = [torch.nn.Parameter(weight) for weight in network(HIDDEN)]
    fresh = torch.randn(1024, INPUTS, generator=generator)
    right = answers(teacher, fresh)
    optimizer, reached = make(student, rate), None
    for step in range(steps):
        x = torch.randn(BATCH, INPUTS, generator=generator)
        noisy = answers(teacher, x) + NOISE * torch.randn(BATCH, 1, generator=generator)
        optimizer.zero_grad()
        (answers(student, x) - noisy).square().mean().backward()
        optimizer.step()
        if step % 25 == 24 and reached is None:
            with torch.no_grad():
                reached = (
                    step + 1 if float((answers(student, fresh) - right).square().mean()) < TARGET else None
                )
    with torch.no_grad():
        loss = float((answers(student, fresh) - right).square().mean())
    factor = optimizer.control.factor if isinstance(optimizer, RegrettableDeltaBarDelta) else 1.0
    rejected = 0.0
    if isinstance(optimizer, RejectAccelerating):
        rejected = optimizer.rejected / optimizer.moves
    return Outcome(loss if math.isfinite(loss) else math.inf, reached, factor, rejected)


def controlled() -> list[dict[str, Any]]:
    """Final losses of every first rate of two decades: means of seeds."""
    found: list[dict[str, Any]] = []
    for name, make in CONTROLLED.items():
        for rate in TWO_DECADES:
            runs = [learnt(make, rate, seed) for seed in SEEDS]
            reached = [run.reached for run in runs if run.reached is not None]
            found.append(
                {
                    "optimizer": name,
                    "rate": rate,
                    "loss": statistics.mean(run.loss for run in runs),
                    "reached": statistics.median(reached) if len(reached) == len(runs) else None,
                    "last_rate": rate * statistics.mean(run.factor for run in runs),
                }
            )
    return found


def accelerated() -> list[dict[str, Any]]:
    """Losses of ever larger rates, with Reject and Random-Vector Accelerating and without: means of seeds."""
    found: list[dict[str, Any]] = []
    wrappers: dict[str, Callable[[Optimizer], Optimizer]] = {
        "": lambda optimizer: optimizer,
        "RA-": RejectAccelerating,
        "RVA-": RandomVectorAccelerating,
    }
    firsts = {"SGD": 0.02, "momentum": 0.01, "Adam": 0.004}
    for name, plain in PLAIN.items():
        for prefix, wrap in wrappers.items():
            for k in range(8):
                rate = firsts[name] * 2**k

                def make(
                    parameters: list[torch.nn.Parameter],
                    rate: float,
                    plain: Make = plain,
                    wrap: Callable[[Optimizer], Optimizer] = wrap,
                ) -> Optimizer:
                    return wrap(plain(parameters, rate))

                runs = [learnt(make, rate, seed, SHORT) for seed in SEEDS]
                found.append(
                    {
                        "optimizer": prefix + name,
                        "rate": rate,
                        "losses": [run.loss if math.isfinite(run.loss) else None for run in runs],
                        "rejected": statistics.mean(run.rejected for run in runs),
                    }
                )
    return found


def polynomial() -> list[dict[str, Any]]:
    """A decoder with power attention under ever larger rates of AdamW: losses of the last steps."""
    config = ModelConfig(
        layers=2,
        width=32,
        heads=2,
        kv_heads=2,
        head_width=16,
        hidden=64,
        vocabulary=64,
        context=24,
        attention="power",
    )
    found: list[dict[str, Any]] = []
    for accelerate in ("none", "reject"):
        for k in range(6):
            rate, losses, rejected = 0.004 * 2**k, list[float | None](), list[float]()
            for seed in SEEDS[:2]:
                recipe = Recipe(
                    steps=LAST,
                    batch=8,
                    learning_rate=rate,
                    warmup=10,
                    schedule="constant",
                    precision="float32",
                    seed=seed,
                    on_divergence="record",
                )
                recipe = dataclasses.replace(recipe, accelerate=accelerate)
                last, share = _decoder_losses(config, recipe)
                losses.append(last if math.isfinite(last) else None)
                rejected.append(share)
            found.append(
                {
                    "accelerate": accelerate,
                    "rate": rate,
                    "losses": losses,
                    "rejected": statistics.mean(rejected),
                }
            )
    return found


def _decoder_losses(config: ModelConfig, recipe: Recipe) -> tuple[float, float]:
    """Mean loss of the last 20 steps on a noisy rule, and the fraction of moves rejected."""
    generator = np.random.default_rng(recipe.seed)
    steps = generator.integers(1, 4, size=20_000)
    stream = (np.cumsum(steps) % config.vocabulary).astype(np.uint16)
    batches = Batches(tokens=stream, batch=recipe.batch, context=config.context, seed=recipe.seed)
    state = TrainingState(config, recipe)
    curve: list[float] = []
    for step in range(recipe.steps):
        result = state.advance(*batches.at(step))
        curve.append(result.loss)
        if result.diverged:
            return math.inf, 0.0
    wrapper = state.optimizer
    share = wrapper.rejected / wrapper.moves if isinstance(wrapper, RejectAccelerating) else 0.0
    return statistics.mean(curve[-20:]), share


def report() -> None:
    """Measures and appends a record."""
    torch.set_num_threads(1)
    record = {
        "case": "optimizers",
        "steps": {"controlled": STEPS, "accelerated": SHORT, "polynomial": LAST},
        "controlled": controlled(),
        "accelerated": accelerated(),
        "polynomial": polynomial(),
        "commit": commit(),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }
    with FILE.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _record() -> dict[str, Any]:
    return json.loads(FILE.read_text().splitlines()[-1])


def spread_table() -> str:
    """Losses over two decades of first rates."""
    found = _record()["controlled"]
    header = ["first rate", *(f"{name}: loss" for name in CONTROLLED), "RDBD: last rate"]
    rows: list[list[str]] = []
    for rate in TWO_DECADES:
        here = {each["optimizer"]: each for each in found if math.isclose(each["rate"], rate)}
        losses = [_number(here[name]["loss"]) for name in CONTROLLED]
        rows.append([f"{rate:.3g}", *losses, f"{here['RDBD']['last_rate']:.3g}"])
    by_name = {name: [e for e in found if e["optimizer"] == name] for name in CONTROLLED}
    ratios = [max(e["loss"] for e in each) / min(e["loss"] for e in each) for each in by_name.values()]
    rows.append(["largest / least", *(f"{ratio:.2f}" for ratio in ratios), ""])
    reached = [[e["reached"] for e in each if e["reached"] is not None] for each in by_name.values()]
    rows.append(
        [
            f"first rates that reach {TARGET} with every seed",
            *(f"{len(each)} of {len(TWO_DECADES)}" for each in reached),
            "",
        ]
    )
    fastest = [f"{min(each):.0f}" if each else "none" for each in reached]
    rows.append([f"fewest steps to {TARGET}", *fastest, ""])
    return table(header, rows)


def _number(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else "diverged"


def rates_table() -> str:
    """Largest stable rates and best losses."""
    found, rows = _record()["accelerated"], list[list[str]]()
    for name in dict.fromkeys(each["optimizer"] for each in found):
        runs = [each for each in found if each["optimizer"] == name]
        means = [_mean(each["losses"]) for each in runs]
        best = min(range(len(runs)), key=lambda i: means[i])
        stable = largest_stable([each["rate"] for each in runs], means)
        rejected = f"{runs[best]['rejected']:.0%}" if name.startswith("RA-") else ""
        rows.append([name, f"{stable:.3g}", f"{runs[best]['rate']:.3g}", f"{means[best]:.4f}", rejected])
    header = ["optimizer", "largest stable rate", "best rate", "loss there", "rejected there"]
    return table(header, rows)


def polynomial_table() -> str:
    """A decoder with power attention, by rate."""
    found = _record()["polynomial"]
    pairs = {name: [e for e in found if e["accelerate"] == name] for name in ("none", "reject")}
    rows = [
        [
            f"{plain['rate']:.3g}",
            _number(_mean(plain["losses"])),
            _number(_mean(rejecting["losses"])),
            f"{rejecting['rejected']:.0%}",
        ]
        for plain, rejecting in zip(pairs["none"], pairs["reject"], strict=True)
    ]
    return table(["rate", "AdamW", "RA-AdamW", "moves rejected"], rows)


def bound_table() -> str:
    """The theorem's bound with every step accelerated, over that without."""
    return table(
        ["c", *(f"{c:g}" for c in COSINES)], [["ratio", *(f"{bound_ratio(c):.4f}" for c in COSINES)]]
    )


def largest_stable(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The largest rate up to which every rate ends below `STABLE`; NaN where the first does not."""
    largest = math.nan
    for rate, loss in zip(rates, losses, strict=True):
        if not loss < STABLE:
            break
        largest = rate
    return largest


def _mean(losses: Sequence[float | None]) -> float:
    return math.inf if None in losses else statistics.mean(loss for loss in losses if loss is not None)


TABLES: dict[str, Callable[[], str]] = {
    "rate spread": spread_table,
    "largest rates": rates_table,
    "power attention": polynomial_table,
    "bound ratio": bound_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args()
    report()


if __name__ == "__main__":
    main()
