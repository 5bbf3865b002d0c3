"""The loss on protected data: where it holds losses, what can be extracted, and what it costs.

    python -m bench.protected_data --out runs/protected            seed 0
    python -m bench.protected_data --out runs/protected --seed 1   another, for the tables' means and ranges

Small models are trained on Python sources in which some passages stand a hundred times: without protection,
with it, with one copy only, and with none. A seed decides first weights and the order of the data. Appends
to bench/records/protected_data.jsonl; `python -m bench.tables` then writes docs/methods/protected_data.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import statistics
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.markdown import table
from bench.records import RECORDS, commit
from mpcinfer.benchmark.machine import machine
from mpcinfer.models.config import ModelConfig
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Tokens, consecutive_batches
from mpcinfer.training.corpus import prepare_corpus, read_corpus, stored_corpus
from mpcinfer.training.data import Document, folder_texts
from mpcinfer.training.extraction import extraction
from mpcinfer.training.losses import mean_loss
from mpcinfer.training.observer import perplexity
from mpcinfer.training.protected_data import ProtectedDataLoss, regression_objective
from mpcinfer.training.protected_text import protected_mask
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.train import train

FILE = RECORDS / "protected_data.jsonl"
GAMMAS = (0.001, 0.005, 0.02, 0.05)
"""Of the regression form, as in the paper's experiments."""
BACKGROUND, PASSAGES, CHARACTERS, COPIES = 16, 3, 600, 100
CONFIG = ModelConfig(
    layers=2, width=64, heads=4, kv_heads=4, head_width=16, hidden=256, vocabulary=512, context=48
)
RECIPE = Recipe(steps=400, batch=12, learning_rate=5e-3, warmup=40, precision="float32")
PREFIXES, CONTINUATION = (8, 16, 32), 16


@dataclass(frozen=True, slots=True)
class Case:
    """A model to train: how often passages stand in its data, and gamma; None for no protection."""

    name: str
    copies: int = COPIES
    gamma: float | None = None


CASES = (
    Case("no protection"),
    *(Case(f"gamma {gamma:g}", gamma=gamma) for gamma in (0.25, 1.0, 4.0)),
    Case("one copy", copies=1),
    Case("left out", copies=0),
)


def regression(gamma: float, seed: int = 0) -> dict[str, float]:
    """Softmax regression with protected rows: the least objective by L-BFGS, in float64."""
    generator = torch.Generator().manual_seed(seed)
    protected, other, width = 10, 20, 40
    rows = torch.randn(protected + other, width, generator=generator, dtype=torch.float64)
    target = torch.softmax(torch.randn(protected + other, generator=generator, dtype=torch.float64), 0)
    x = (torch.randn(width, generator=generator, dtype=torch.float64) / width).requires_grad_()

    def losses() -> tuple[torch.Tensor, torch.Tensor]:
        wrong = (torch.softmax(rows @ x, 0) - target).square()
        return wrong[:protected].sum(), wrong[protected:].sum()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = regression_objective(*losses(), gamma)
        value.backward()  # pyright: ignore[reportUnknownMemberType]
        return value

    optimizer = torch.optim.LBFGS(
        [x], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )
    optimizer.step(closure)
    first, second = (float(loss.detach()) for loss in losses())
    expected = math.sqrt(2 * gamma)
    return {
        "gamma": gamma,
        "protected": first,
        "expected": expected,
        "error": abs(first / expected - 1),
        "other": second,
        "tau": first / protected - second / other,
        "tau_expected": expected / protected - second / other,
    }


def write_texts(out: Path) -> None:
    """Background, the passages, and folders with so many copies of them; every copy on the training side."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(file for file in library.glob("*.py") if 4000 < file.stat().st_size < 30_000)
    texts = [file.read_text(encoding="utf-8") for file in files[: BACKGROUND + PASSAGES]]
    passages = [text[1200 : 1200 + CHARACTERS] for text in texts[:PASSAGES]]
    _write(out / "passages", passages)
    generator = np.random.default_rng(0)
    copies = [_copy([passages[i] for i in generator.permutation(PASSAGES)], n) for n in range(COPIES)]
    for count in {case.copies for case in CASES}:
        _write(out / f"texts-{count}", [*texts[PASSAGES:], *copies[:count]])


def _copy(passages: list[str], number: int) -> str:
    """Passages under a first line whose digest is not among the lowest, which are held out."""
    for attempt in range(1000):
        text = "\n\n".join([f"# copy {number}.{attempt}", *passages])
        if Document.of(text).digest >= "8":
            return text
    raise AssertionError("unreachable")


def _write(folder: Path, texts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number:03}.txt").write_text(text, encoding="utf-8")


def write_corpora(out: Path) -> None:
    """Token streams of every folder, all of one tokenizer."""
    tokenizer: Tokenizer | None = None
    for count in sorted({case.copies for case in CASES}, reverse=True):
        folder = out / f"corpus-{count}"
        if stored_corpus(folder) is None:
            source = str(out / f"texts-{count}")
            prepare_corpus(folder, source, CONFIG.vocabulary, stored=False, say=print, tokenizer=tokenizer)
        tokenizer = read_corpus(folder).tokenizer


def trained(case: Case, out: Path, seed: int) -> dict[str, Any]:
    """Trains a case from a seed and looks at it."""
    protection = {}
    if case.gamma is not None:
        protection = {
            "protect": out / "passages",
            "protection": ProtectedDataLoss(gamma=case.gamma),
        }
    folder = out / f"corpus-{case.copies}"
    recipe, name = dataclasses.replace(RECIPE, seed=seed), case.name.replace(" ", "-")
    into = out / (name if seed == 0 else f"{name}-seed{seed}")
    done = train(CONFIG, recipe, folder, into, resume=True, entropy_every=0, **protection)
    weights = done.state.plain_weights()
    corpus = read_corpus(folder)
    texts = list(_encoded(corpus.tokenizer, out / "passages"))
    mask = protected_mask(corpus.train, texts)
    rest = corpus.train[~mask]
    found: dict[str, Any] = {
        "name": case.name,
        "copies": case.copies,
        "gamma": case.gamma,
        "protected_tokens": int(mask.sum()),
        "tokens": len(mask),
        "protected_loss": _loss(weights, np.concatenate(texts)),
        "other_loss": _loss(weights, rest[: 256 * CONFIG.context]),
        "held_out_perplexity": perplexity(done.held_out_loss),
    }
    for prefix in PREFIXES:
        rate = extraction(CONFIG, weights, texts, prefix=prefix, continuation=CONTINUATION, stride=1)
        found[f"verbatim_{prefix}"], found[f"right_{prefix}"] = rate.verbatim, rate.tokens
        found["prefixes"] = rate.prefixes
    print(found, flush=True)
    return found


def _encoded(tokenizer: Tokenizer, folder: Path) -> Iterator[Tokens]:
    for text in folder_texts(folder):
        yield np.array(tokenizer.backend.encode(text, add_special_tokens=False).ids, dtype=np.uint16)


def _loss(weights: dict[str, torch.Tensor], tokens: Tokens) -> float:
    return mean_loss(CONFIG, weights, consecutive_batches(tokens, 16, CONFIG.context, len(tokens)))


def report(out: Path, seed: int) -> None:
    """Trains what is missing of a seed, measures and appends a record."""
    torch.set_num_threads(1)
    write_texts(out)
    write_corpora(out)
    record = {
        "case": "protected data",
        "seed": seed,
        "steps": RECIPE.steps,
        "continuation": CONTINUATION,
        "regression": [regression(gamma) for gamma in GAMMAS],
        "models": [trained(case, out, seed) for case in CASES],
        "commit": commit(),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }
    with FILE.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _records() -> list[dict[str, Any]]:
    """The newest of every seed, seeds upwards."""
    records = [json.loads(line) for line in FILE.read_text().splitlines()]
    newest = {record.get("seed", 0): record for record in records}
    return [newest[seed] for seed in sorted(newest)]


def regression_table() -> str:
    """Where the regression form comes to rest."""
    rows = [
        [
            f"{each['gamma']:g}",
            f"{each['protected']:.5f}",
            f"{each['expected']:.5f}",
            f"{each['error']:.1e}",
            f"{each['tau']:.6f}",
            f"{each['tau_expected']:.6f}",
        ]
        for each in _records()[0]["regression"]
    ]
    header = ["gamma", "protected loss", "sqrt(2 gamma)", "relative difference", "tau", "tau by formula"]
    return table(header, rows)


def extraction_table() -> str:
    """What trained models give away, and what they lost: means over seeds, and their range."""
    rows: list[list[str]] = []
    for models in zip(*(record["models"] for record in _records()), strict=True):
        each = models[0]
        rest = "" if each["gamma"] is None else f"{math.sqrt(each['gamma']):.2f}"
        lost = [model["protected_loss"] - model["other_loss"] for model in models]

        def over(key: str, form: str, models: Sequence[dict[str, Any]] = models) -> str:
            return spread([model[key] for model in models], form)

        rows.append(
            [
                each["name"],
                str(each["copies"]),
                rest,
                over("protected_loss", ".2f"),
                spread(lost, "+.2f"),
                *(over(f"verbatim_{prefix}", ".1%") for prefix in PREFIXES),
                over("right_32", ".0%"),
                over("held_out_perplexity", ".1f"),
            ]
        )
    header = ["training", "copies", "sqrt(gamma)", "protected loss", "tau"]
    header += [*(f"verbatim after {prefix}" for prefix in PREFIXES), "tokens right", "held-out perplexity"]
    return table(header, rows)


def spread(values: Sequence[float], form: str) -> str:
    """Mean, and the least and the largest of several that are not all shown alike."""
    mean, ends = format(statistics.mean(values), form), [format(f(values), form) for f in (min, max)]
    return mean if ends[0] == ends[1] else f"{mean} ({ends[0]} to {ends[1]})"


TABLES: dict[str, Callable[[], str]] = {
    "protected regression": regression_table,
    "extraction": extraction_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/protected"), help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report(options.out, options.seed)


if __name__ == "__main__":
    main()
