"""Few-shot prompts of which some labels are wrong: weights of examples, in the clear and in private runs.

python -m bench.prompt_weights accuracy --seeds 10    tasks x seeds in float; about 5 minutes each on two
                                                          quiet cores; what is recorded is left out
python -m bench.prompt_weights private --prompts 4    some of these prompts under `fss`; a minute a prompt
python -m bench.prompt_weights asked                  LARICL by private answers, on a small model; a minute

Sentences and labels are our own (bench/few_shot). A prompt has 8 examples, 4 of each label, and 3 of them are
flipped; 16 others, labelled rightly, are for validation, and the last 24 of a task are what is asked.
Appends to bench/records/prompt_weights.jsonl; `python -m bench.tables` writes docs/methods/prompt_weights.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer import private
from mpcinfer.clear import ClearModel
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.black_box import AskedPredictions
from mpcinfer.prompt_weights.fitting import laricl, one_step, ricl, validation_loss
from mpcinfer.prompt_weights.in_the_clear import ClearPredictions
from mpcinfer.prompt_weights.task import Example, FewShot, read_examples
from mpcinfer.roles.client import PrivateClient
from parties.errors import ConfigError

FILE = "prompt_weights.jsonl"
MODEL, SMALL = "smollm2-135m-instruct", "tiny-python"
DATA, TASKS = Path(__file__).parent / "few_shot", ("sentiment", "topic")
SHOTS, FLIPPED, VALIDATION = 8, 3, 16
METHODS = {
    "right labels": "no label flipped",
    "uniform": "flipped labels, no weights",
    "oracle": "flipped examples dropped",
    "one-step": "one step",
    "ricl": "RICL",
    "laricl": "LARICL",
}
BYTES = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
    """A task's sentences, drawn.

    Attributes:
        right: the prompt's examples as they are; `wrong` has some labels flipped, those in `flipped`.
    """

    right: tuple[Example, ...]
    wrong: tuple[Example, ...]
    flipped: tuple[int, ...]
    validation: tuple[Example, ...]
    asked: tuple[Example, ...]


def draw(task: str, seed: int) -> Draw:
    """The draw of a seed; every part has as many of one label as of the other."""
    order, pool = Random(seed), read_examples(DATA / f"{task}.jsonl")
    labels = sorted({each.output for each in pool})
    sides = [[each for each in pool if each.output == label] for label in labels]
    for side in sides:
        order.shuffle(side)
    half, known = SHOTS // 2, VALIDATION // 2
    right = [each for side in sides for each in side[:half]]
    order.shuffle(right)
    flipped = sorted(order.sample(range(SHOTS), FLIPPED))
    other = dict(zip(labels, reversed(labels), strict=True))
    wrong = [Example(e.input, other[e.output]) if i in flipped else e for i, e in enumerate(right)]
    return Draw(
        tuple(right),
        tuple(wrong),
        tuple(flipped),
        tuple(each for side in sides for each in side[half : half + known]),
        tuple(each for side in sides for each in side[half + known :]),
    )


def accuracy(seeds: int) -> None:
    """Records what is missing."""
    done = {(r["extra"]["task"], r["extra"]["seed"]) for r in _records("prompt-weights")}
    missing = [(task, seed) for seed in range(seeds) for task in TASKS if (task, seed) not in done]
    if not missing:
        return
    model = load_model(MODEL)
    for task, seed in track(missing, "tasks", console=Console(stderr=True)):
        found = compared(model, draw(task, seed))
        Record(
            case="prompt-weights",
            plan="",
            model=MODEL,
            tokens=0,
            measured=True,
            bill={},
            extra={"task": task, "seed": seed, **found},
        ).append(RECORDS / FILE)


def compared(model: Model, drawn: Draw) -> dict[str, Any]:
    """Accuracy and loss on what is asked, by method, and the weights of each."""
    public = PublicModel.of(model)
    wrong = FewShot.of(public, drawn.wrong, drawn.validation)
    predict, right = ClearPredictions(model, wrong), wrong.right()
    ones = torch.ones(SHOTS, dtype=torch.float64)
    oracle = ones.clone()
    oracle[list(drawn.flipped)] = 0.0
    weights = {
        "uniform": ones,
        "oracle": oracle,
        "one-step": _or_ones(lambda: one_step(predict, right, SHOTS), ones),
        "ricl": ricl(predict, right, SHOTS),
        "laricl": _or_ones(lambda: laricl(predict, right, SHOTS), ones),
    }
    labels = wrong.right(drawn.asked)
    found = dict(zip(weights, predict(torch.stack([*weights.values()]), drawn.asked), strict=True))
    clean = FewShot.of(public, drawn.right, drawn.validation)
    found["right labels"] = ClearPredictions(model, clean)(ones[None], drawn.asked)[0]
    return {
        "flipped": list(drawn.flipped),
        "accuracy": {name: _accuracy(each, labels) for name, each in found.items()},
        "loss": {name: round(float(validation_loss(each, labels)), 4) for name, each in found.items()},
        "weights": {name: [round(float(w), 4) for w in each] for name, each in weights.items()},
    }


def private_runs(prompts: int, shots: int) -> None:
    """A question of some draws under `fss`, without weights and with flipped examples at the clip.

    Raises ConfigError where bytes or rounds differ.
    """
    clear = ClearModel(load_model(MODEL))
    draws = [(task, seed) for seed in range(prompts) for task in TASKS][:prompts]
    for name, seed in track(draws, "prompts", console=Console(stderr=True)):
        drawn = draw(name, seed)
        task = FewShot.of(clear.public, drawn.wrong[:shots], drawn.validation)
        weights = [float(i not in drawn.flipped) for i in range(shots)]
        rows = {"without": [1.0] * shots, "with": weights if any(weights) else [1.0, *[0.0] * (shots - 1)]}
        asked = drawn.asked[:1]
        with private(MODEL, plan="fss", timeout_s=600) as client:
            runs = {each: _run(client, task, row, asked) for each, row in rows.items()}
        reference = {each: _ask(clear, task, row, asked) for each, row in rows.items()}
        if runs["with"][1] != runs["without"][1]:
            raise ConfigError(f"bytes with and without weights differ: {runs}")
        found = {
            "task": name,
            "seed": seed,
            "shots": shots,
            "same": [bool(runs[each][0].argmax() == reference[each].argmax()) for each in rows],
            "apart": [float((runs[each][0] - reference[each]).abs().max()) for each in rows],
            "moved": float((reference["with"] - reference["without"]).abs().max()),
            "bills": {each: run[1] for each, run in runs.items()},
        }
        Record(
            case="prompt-weights-private",
            plan="fss",
            model=MODEL,
            tokens=len(clear.public.tokenizer.encode(task.prompt(asked[0]))),
            measured=True,
            bill=runs["with"][1],
            extra=found,
        ).append(RECORDS / FILE)


def asked_runs() -> None:
    """LARICL over private answers of a small model, beside the same in the clear."""
    shots = [Example(f"x = {n}", "odd" if n % 2 else "even") for n in (1, 4, 7, 2)]
    known = [Example(f"x = {n}", "odd" if n % 2 else "even") for n in (3, 8, 5)]
    with private(SMALL, plan="fss") as client:
        task = FewShot.of(client.public, shots, known)
        sent: list[list[int]] = []
        predict = _billed(client, AskedPredictions(client, task), sent)
        weights = laricl(predict, task.right(), len(shots))
        bill = client.finish()
    clear = laricl(AskedPredictions(ClearModel(load_model(SMALL)), task), task.right(), len(shots))
    found = {
        "answers": (len(shots) + 1) * len(known),
        "weights": [float(each) for each in weights],
        "clear": [float(each) for each in clear],
        "same_bytes": len({tuple(each) for each in sent}) == 1,
    }
    Record(
        case="prompt-weights-asked",
        plan="fss",
        model=SMALL,
        tokens=0,
        measured=True,
        bill=dataclasses.asdict(bill.total),
        extra=found,
    ).append(RECORDS / FILE)


def _billed(
    client: PrivateClient, predict: AskedPredictions, sent: list[list[int]]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Predictions weighting by weighting; what each took goes to `sent`."""

    def billed(weights: torch.Tensor) -> torch.Tensor:
        rows = list[torch.Tensor]()
        for row in weights:
            before = _costs(client)
            rows.append(predict(row[None]))
            sent.append([after - b for after, b in zip(_costs(client), before, strict=True)])
        return torch.cat(rows)

    return billed


def _run(
    client: PrivateClient, task: FewShot, weights: Sequence[float], asked: Sequence[Example]
) -> tuple[torch.Tensor, dict[str, int]]:
    """Probabilities, and what the question took."""
    before = _costs(client)
    found = _ask(client, task, weights, asked)
    return found, {name: after - b for name, after, b in zip(BYTES, _costs(client), before, strict=True)}


def _ask(
    model: PrivateClient | ClearModel, task: FewShot, weights: Sequence[float], asked: Sequence[Example]
) -> torch.Tensor:
    predict = AskedPredictions(model, task)
    return predict(torch.tensor([list(weights)], dtype=torch.float64), asked)[0, 0]


def _costs(client: PrivateClient) -> list[int]:
    total = client.bill_so_far().total
    return [int(getattr(total, name)) for name in BYTES]


def _or_ones(fit: Callable[[], torch.Tensor], ones: torch.Tensor) -> torch.Tensor:
    """A method that finds no weights leaves them."""
    try:
        return fit()
    except ConfigError:
        return ones


def _accuracy(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    return round(float((probabilities.argmax(-1) == labels).double().mean()), 4)


def _records(case: str) -> list[dict[str, Any]]:
    path = RECORDS / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return [record for line in lines if (record := json.loads(line))["case"] == case]


def accuracy_table() -> str:
    """Mean accuracy by method and task, over seeds."""
    records = [each["extra"] for each in _records("prompt-weights")]
    if not set(TASKS) <= {each["task"] for each in records}:
        return "Not run yet."
    rows: list[list[str]] = []
    for name, said in METHODS.items():
        row = [said]
        for task in TASKS:
            found = [each["accuracy"][name] for each in records if each["task"] == task]
            row.append(f"{statistics.mean(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        losses = [each["loss"][name] for each in records]
        rows.append([*row, f"{statistics.mean(losses):.2f}"])
    counts = ", ".join(f"{sum(each['task'] == task for each in records)} of {task}" for task in TASKS)
    header = ["prompt", *TASKS, "loss, nats"]
    return f"{table(header, rows)}\n\nDraws: {counts}."


def private_table() -> str:
    """What private runs of these prompts cost, without weights and with."""
    rows: list[list[str]] = []
    for record in _records("prompt-weights-private"):
        extra = record["extra"]
        for name in ("without", "with"):
            bill = extra["bills"][name]
            online = bill["online_bytes_to_server"] + bill["online_bytes_to_client"]
            offline = bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]
            number = int(name == "with")
            rows.append(
                [
                    f"{extra['task']}, {extra['shots']} examples, {record['tokens']} tokens, {name}",
                    f"{bill['rounds']:,}",
                    f"{online:,}",
                    megabytes(offline),
                    f"{extra['apart'][number]:.3f}",
                    "yes" if extra["same"][number] else "no",
                ]
            )
    header = ["prompt, weights", "rounds", "online bytes", "offline", "probabilities off by", "same label"]
    return table(header, rows)


def asked_table() -> str:
    """Weights of LARICL by private answers, and in the clear."""
    extra = _records("prompt-weights-asked")[-1]["extra"]
    rows = [
        [f"{number}", f"{mine:.4f}", f"{theirs:.4f}"]
        for number, (mine, theirs) in enumerate(zip(extra["weights"], extra["clear"], strict=True), 1)
    ]
    same = "the same bytes" if extra["same_bytes"] else "different bytes"
    answers = f"{extra['answers']} private answers; every weighting sent {same}."
    return f"{table(['example', 'private', 'float'], rows)}\n\n{answers}"


TABLES: dict[str, Callable[[], str]] = {
    "prompt weights accuracy": accuracy_table,
    "prompt weights private": private_table,
    "prompt weights asked": asked_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["accuracy", "private", "asked"])
    parser.add_argument("--seeds", type=int, default=10, help="draws of each task")
    parser.add_argument("--prompts", type=int, default=4, help="how many, for private")
    parser.add_argument("--shots", type=int, default=SHOTS, help="the first so many examples, for private")
    options = parser.parse_args()
    if options.case == "accuracy":
        accuracy(options.seeds)
    elif options.case == "private":
        private_runs(options.prompts, options.shots)
    else:
        asked_runs()


if __name__ == "__main__":
    main()
