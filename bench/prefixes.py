"""Prefix adapters: bytes of private answers against the prefix's length, how near fits are, and a task.

    python -m bench.prefixes bytes              private answers over adapters of 16 to 65,536 keys
    python -m bench.prefixes pairs              the same of power 2, and how exact it is
    python -m bench.prefixes error              fits to random keys, by length, map and size of scores
    python -m bench.prefixes task --steps 300   accuracy beside prefix tuning and LoRA (`bench.prefix_task`)

Each appends to bench/records/prefixes.jsonl; `python -m bench.tables` writes docs/methods/prefixes.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench import prefix_pairs, prefix_task
from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer import PublicModel, cost, load_model, private
from mpcinfer.backends.feature_maps import features_of
from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.prefix.adapter import PrefixAdapter, model_digest
from mpcinfer.prefix.file import save_adapter
from mpcinfer.prefix.fit import fitted_state, relative_error
from mpcinfer.prefix.teacher import Seen

FILE = "prefixes.jsonl"
MODEL, PLAN, PROMPT, NEW_TOKENS = "tiny-python", "fss", "def area(self):", 4
LENGTHS = (16, 256, 4096, 65_536)
FITTED, DEVIATIONS = (16, 64, 256, 1024, 4096), (0.36, 1.0)
MAPS: tuple[FeatureMap, ...] = ("elu", "square")
WIDTH, OWN, WINDOWS = 16, 32, 64
"""Of heads that are fitted; keys of each text; texts, of which half are fitted to."""


def random_adapter(length: int) -> PrefixAdapter:
    """Sums over random keys and values of the answering model, over K so that they are as exp of scores."""
    model = load_model(MODEL)
    config, generator = model.config, torch.Generator().manual_seed(length)
    sums: list[torch.Tensor] = []
    for _ in range(config.layers):
        shape = (1, config.heads, length, config.head_width)
        k, v = (torch.randn(shape, generator=generator).double() * 0.3 for _ in "kv")
        phi, ones = features_of(k, "square") / config.head_width, torch.ones_like(v[..., :1])
        sums.append(phi.transpose(-1, -2) @ torch.cat([v, ones], -1))
    return PrefixAdapter(features="square", sums=tuple(sums), model=model_digest(PublicModel.of(model)))


def measure_bytes() -> None:
    """A private answer without a prefix, and one over each adapter."""
    for length in (0, *LENGTHS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "adapter"
            if length:
                save_adapter(random_adapter(length), path)
            with private(MODEL, plan=PLAN, prefix=str(path) if length else None) as client:
                client.complete(PROMPT, max_new_tokens=NEW_TOKENS)
                bill = client.finish()
        Record(
            case="answer",
            plan=PLAN,
            model=MODEL,
            tokens=NEW_TOKENS,
            measured=True,
            bill=dataclasses.asdict(bill.total),
            network="loopback",
            extra={"keys": length},
        ).append(RECORDS / FILE)
        Console().print(f"{length:,} keys: {bill.total.rounds} rounds")


def measure_errors() -> None:
    """Fits to random keys, scored on texts that were not fitted to."""
    for deviation in DEVIATIONS:
        for length in FITTED:
            found = {name: _fit_error(length, deviation, name) for name in MAPS}
            Record(
                case="fit",
                plan="",
                model="",
                tokens=length,
                measured=True,
                bill={},
                error=found,
                extra={"deviation": deviation, "width": WIDTH},
            ).append(RECORDS / FILE)
            Console().print(f"{length:,} keys, scores {deviation}: {found}")


def _fit_error(length: int, deviation: float, features: FeatureMap) -> float:
    """1 is as far off as without the prefix. Queries over sqrt(K), keys and values are normal."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, 1, *shape, WIDTH, generator=generator, dtype=torch.float64)

    each = deviation**0.5 / WIDTH**0.25  # of both factors: a score is the sum of K products
    k, v = normal(length) * each, normal(length)
    texts = [Seen(normal(OWN) * each, normal(OWN) * each, normal(OWN), None, None) for _ in range(WINDOWS)]
    half = WINDOWS // 2
    state = fitted_state(k, v, texts[:half], texts[half : half + half // 2], features)
    return relative_error(k, v, texts[half + half // 2 :], features, state)


def _records(case: str) -> list[dict[str, Any]]:
    path = RECORDS / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return [each for each in map(json.loads, lines) if each["case"] == case]


def bytes_table() -> str:
    """The newest record of each length."""
    return _bytes_table("answer")


def pairs_bytes_table() -> str:
    """The same of power 2."""
    return _bytes_table("answer, pairs")


def _bytes_table(case: str) -> str:
    rows = prefix_pairs.bytes_rows(_records(case))
    return table(["keys of the prefix", "rounds", "online bytes, both ways", "offline bytes"], rows)


def pairs_exact_table() -> str:
    """Distances of power 2, by length."""
    return prefix_pairs.exact_table(_records("exact, pairs"))


def error_table() -> str:
    """Fitted errors, by length."""
    found = {(each["tokens"], each["extra"]["deviation"]): each["error"] for each in _records("fit")}
    rows = [
        [f"{length:,}", *(f"{found[length, size][name]:.3f}" for size in DEVIATIONS for name in MAPS)]
        for length in FITTED
        if all((length, size) in found for size in DEVIATIONS)
    ]
    return table(["keys", *(f"{name}, scores {size:g}" for size in DEVIATIONS for name in MAPS)], rows)


def cost_table() -> str:
    """Blocks at 128 tokens without a prefix and with one, counted."""
    rows: list[list[str]] = []
    for model, features in ((MODEL, "square"), ("gpt2", "square"), ("gpt2-power2", "pairs")):
        for prefix in (None, features):
            total = cost(model, plan=PLAN, tokens=128, part="stack", prefix=prefix).total
            online = total.online_bytes_to_server + total.online_bytes_to_client
            offline = total.offline_bytes_to_server + total.offline_bytes_to_client
            rows.append(
                [f"{model}, {prefix or 'none'}", str(total.rounds), megabytes(online), megabytes(offline)]
            )
    return table(["blocks, prefix", "rounds", "online, both ways", "offline"], rows)


def task_table() -> str:
    """The newest record of each method."""
    found = {each["extra"]["method"]: each["extra"] for each in _records("task")}
    rows = [
        [name, f"{found[name]['parameters']:,}", f"{100 * found[name]['accuracy']:.0f}%"]
        for name in prefix_task.METHODS
        if name in found
    ]
    return table(["method", "trained numbers", "accuracy"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "prefix bytes": bytes_table,
    "prefix bytes, pairs": pairs_bytes_table,
    "prefix exact, pairs": pairs_exact_table,
    "prefix fits": error_table,
    "prefix costs": cost_table,
    "prefix task": task_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["bytes", "pairs", "error", "task"])
    parser.add_argument("--steps", type=int, default=prefix_task.STEPS, help="of each method's training")
    parser.add_argument("--only", choices=prefix_task.METHODS, help="one method of the task")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case == "bytes":
        measure_bytes()
    elif options.case == "pairs":
        prefix_pairs.measure_exactness(RECORDS / FILE)
        prefix_pairs.measure_bytes(RECORDS / FILE, LENGTHS, PROMPT, NEW_TOKENS)
    elif options.case == "error":
        measure_errors()
    else:
        prefix_task.measure(RECORDS / FILE, options.steps, [options.only] if options.only else None)


if __name__ == "__main__":
    main()
