"""What `bench.polynomial` trains: a trained model, continued with softmax and converted, on the same
tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_model
from mpcinfer.models.variants import variant
from mpcinfer.training.corpus import prepare_corpus, stored_corpus
from mpcinfer.training.options import RunOptions
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe

START = "tiny-python"
"""The trained model that everything begins from."""
HELD_OUT_WINDOWS = 128
RANGES = RangePenalty(strength=0.01, scores=3.0, variance=64.0, activations=6.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A run: a name, the variant it is converted to, its penalty, and the run that it goes on from, with
    other windows and a schedule of its own."""

    name: str
    variant: str
    ranges: RangePenalty | None = None
    after: str = ""

    def config(self, start: ModelConfig) -> ModelConfig:
        """The start's sizes in the variant's form."""
        return variant(self.variant, start)

    def options(self, start: ModelConfig, out: Path, steps: int) -> RunOptions:
        """Three tenths of the rate that the start was trained with, as it has learnt already."""
        recipe = Recipe(
            steps=steps,
            batch=8,
            learning_rate=6e-4,
            warmup=max(steps // 20, 1),
            decay=0.8,
            seed=2 if self.after else 1,
        )
        return RunOptions(
            source=str(out / "data"),
            config=self.config(start),
            recipe=recipe,
            ranges=self.ranges,
            start_from=str(out / self.after) if self.after else START,
            evaluate_every=steps,
            checkpoint_every=max(steps // 4, 1),
            entropy_every=0,
        )


ENTRIES = (
    Entry("softmax", "SM+LN+G"),
    Entry("poly", "poly", ranges=RANGES),
    Entry("softmax-2", "SM+LN+G", after="softmax"),
    Entry("poly-2", "poly", ranges=RANGES, after="poly"),
)


def data(out: Path, say: Callable[[str], None]) -> Path:
    """The corpus of all runs, in the start's tokens, made once from this machine's Python sources."""
    folder = out / "data"
    if stored_corpus(folder) is None:
        model = load_model(START)
        corpus = prepare_corpus(
            folder, "python", model.config.vocabulary, stored=False, say=say, tokenizer=model.tokenizer
        )
        held_out = corpus.held_out[: HELD_OUT_WINDOWS * model.config.context + 1]
        np.save(folder / "held_out.npy", held_out)
        characters = len(corpus.tokenizer.decode(held_out.tolist()))
        counts = dataclasses.replace(corpus.counts, held_out_characters=characters)
        (folder / "data.json").write_text(json.dumps(dataclasses.asdict(counts), indent=2) + "\n")
    return folder
