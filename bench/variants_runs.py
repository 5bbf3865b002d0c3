"""What `bench.variants` trains: which variants, how, and with how many seeds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.training.options import RunOptions
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe

BASE = ModelConfig(
    layers=4, width=128, heads=4, kv_heads=4, head_width=32, hidden=512, vocabulary=1024, context=128
)
"""The common sizes of a small table."""
STEPS, BATCH = 1000, 16
PUBLISHED = EntropyPenalty(strength=0.16 / (BATCH * BASE.context))
"""As published: sums, log T, a hard gate, learned thresholds; its strength for this batch and length."""
CORRECTED = EntropyPenalty(
    strength=0.16, reduction="mean", normalise="causal_row", gate="hinge", thresholds="detached"
)
"""Rows over what they can reach, a mean, no jump, thresholds that follow their heads."""
RANGES = RangePenalty(strength=0.3, scores=3.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a table: a variant, how it is trained, and with how many seeds.

    Attributes:
        stressed: twice as deep and at twice the rate, for half the steps and watched closely.
    """

    name: str
    variant: str
    seeds: int = 1
    penalty: EntropyPenalty | None = None
    ranges: RangePenalty | None = None
    stressed: bool = False

    @property
    def config(self) -> ModelConfig:
        layers = BASE.layers * (2 if self.stressed else 1)
        return variant(self.variant, dataclasses.replace(BASE, layers=layers))

    def folder(self, out: Path, seed: int) -> Path:
        plain = "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")
        return out / f"{plain}{'-stressed' if self.stressed else ''}-seed{seed}"

    def options(self, source: str, seed: int, steps: int) -> RunOptions:
        steps = steps // 2 if self.stressed else steps
        recipe = Recipe(
            steps=steps,
            batch=BATCH,
            learning_rate=4e-3 if self.stressed else 2e-3,
            warmup=steps // 20,
            decay=0.95,
            seed=seed,
            on_divergence="record",
        )
        return RunOptions(
            source=source,
            config=self.config,
            recipe=recipe,
            penalty=self.penalty,
            ranges=self.ranges,
            evaluate_every=steps,
            checkpoint_every=max(steps // 4, 1),
            entropy_every=max(steps // (50 if self.stressed else 10), 1),
        )


ENTRIES = (
    Entry("SM+LN+G", "SM+LN+G", seeds=3),
    Entry("SM+ScFuFFN", "SM+ScFuFFN", seeds=3),
    Entry("EReg(SM(t)+ScFuFFN)", "EReg(SM(t)+ScFuFFN)", seeds=3, penalty=PUBLISHED),
    Entry("power4", "power4", seeds=3),
    Entry("SM+LN+R", "SM+LN+R"),
    Entry("SM+G", "SM+G"),
    Entry("SM", "SM"),
    Entry("power4, ranges", "power4", ranges=RANGES),
    Entry("SM(t)+ScFuFFN", "SM(t)+ScFuFFN"),
    Entry("SM+R", "SM+R"),
    Entry("SM+LN", "SM+LN"),
    Entry("EReg(SM+G)", "SM+G", penalty=PUBLISHED),
    Entry("EReg(SM)", "SM", penalty=PUBLISHED),
    Entry("EReg corrected", "EReg(SM(t)+ScFuFFN)", penalty=CORRECTED),
    Entry("SM+ScFFN", "SM+ScFFN"),
    Entry("SM+WNorm", "SM+WNorm"),
    Entry("SM+SNorm", "SM+SNorm"),
    Entry("power2", "power2"),
    Entry("2quad", "2quad"),
    Entry("relu attention", "relu"),
    Entry("SM", "SM", stressed=True),
    Entry("EReg(SM)", "SM", penalty=PUBLISHED, stressed=True),
    Entry("SM+G", "SM+G", stressed=True),
    Entry("EReg(SM+G)", "SM+G", penalty=PUBLISHED, stressed=True),
    Entry("SM+ScFuFFN", "SM+ScFuFFN", stressed=True),
    Entry("EReg(SM(t)+ScFuFFN)", "EReg(SM(t)+ScFuFFN)", penalty=PUBLISHED, stressed=True),
    Entry("SM+LN+G", "SM+LN+G", stressed=True),
)


def runs() -> list[tuple[Entry, int]]:
    """Every run: what tells most first."""
    most = max(entry.seeds for entry in ENTRIES)
    more = [(entry, seed) for seed in range(1, most) for entry in ENTRIES if seed < entry.seeds]
    return [(entry, 0) for entry in ENTRIES[:8]] + more + [(entry, 0) for entry in ENTRIES[8:]]
