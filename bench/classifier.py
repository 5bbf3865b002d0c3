"""A published classifier in private next to the same in float, over real sentences.

    pip download --no-deps categorium==0.2.2        unpack it; MIT licence, six BERT classifiers of 27 topics
    pip install h5py
    python -m bench.classifier convert FOLDER/categorium/modelos/en --texts FILE --out runs/topics
    python -m bench.classifier run runs/topics --texts FILE --plan fss

`convert` writes Hugging Face's form from TensorFlow's: a model folder with tokenizer, names of classes and
ranges. FILE has a text a line, in its last column where it has several (tabs). The ranges are those of
texts that `run` does not read. `run` appends to bench/records/classifier.jsonl.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save_file

from bench.records import RECORDS, Record
from mpcinfer.clear import ClearModel
from mpcinfer.models.load import load_model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.stored_ranges import save_ranges
from mpcinfer.reading import Labelled
from mpcinfer.roles.together import private
from mpcinfer.text_file import read_text_file

_EVERY, _CALIBRATED, _WORDS = 16, 200, range(4, 100)
_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}


def texts_of(path: Path, *, held_out: bool) -> list[str]:
    """Sentences of a file: every sixteenth is held out of the ranges."""
    lines = (line.split("\t")[-1].strip() for line in read_text_file(path).splitlines())
    kept = [line for line in lines if len(line.split()) in _WORDS]
    return [text for number, text in enumerate(kept) if (number % _EVERY == 0) == held_out]


def converted(source: Path, out: Path) -> None:
    """A Hugging Face folder of a TensorFlow one, its vocabulary and the names of its classes."""
    (weights,) = source.glob("*/tf_model.h5")
    (vocabulary,) = source.glob("*vocab.txt")
    (names,) = source.glob("*.csv")
    fields: dict[str, Any] = json.loads(read_text_file(weights.parent / "config.json"))
    with names.open(encoding="utf-8-sig", newline="") as file:
        labels = [row["cat"] for row in csv.DictReader(file)]
    fields["id2label"] = {str(number): label for number, label in enumerate(labels)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(fields, indent=2), encoding="utf-8")
    (out / "vocab.txt").write_text(read_text_file(vocabulary), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(_tensors(weights), out / "model.safetensors")


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Weights by Hugging Face's names; TensorFlow keeps matrices [in, out]."""
    import h5py

    result: dict[str, torch.Tensor] = {}

    def keep(name: str, value: Any) -> None:
        if not isinstance(value, h5py.Dataset):
            return
        *stem, part = name.removesuffix(":0").split("/")
        stem = stem[stem.index("tf_bert_for_sequence_classification") + 1 :]
        dotted = re.sub(r"layer_\._(\d+)", r"layer.\1", ".".join(stem))
        tensor = torch.from_numpy(value[()]).contiguous()
        result[f"{dotted}.{_PARTS.get(part, part)}"] = tensor.T.contiguous() if part == "kernel" else tensor

    with h5py.File(path) as file:
        file.visititems(keep)
    return result


def measured(folder: str, plan: str, texts: Sequence[str]) -> tuple[Labelled, list[float], dict[str, Any]]:
    """Private scores, seconds of every text, and the bill."""
    seconds: list[float] = []
    rows: list[torch.Tensor] = []
    with private(folder, plan=plan, timeout_s=600.0) as client:
        for text in texts:
            start = time.perf_counter()
            found = client.classify([text])
            seconds.append(time.perf_counter() - start)
            rows.append(found.logits[0])
        bill = client.finish()
    return Labelled(logits=torch.stack(rows), labels=found.labels), seconds, bill.to_json()


def same_labels(first: Labelled, second: Labelled) -> int:
    """How many texts have the same likeliest label."""
    return sum(a == b for a, b in zip(first.best, second.best, strict=True))


def run(folder: str, plan: str, texts: Sequence[str], count: int, console: Console) -> None:
    """Float and fixed point over all texts, private over some, spread over them; prints and records."""
    chosen = list(texts[:: max(1, len(texts) // count)][:count])
    model = load_model(folder)
    in_float = ClearModel(model)
    fixed = ClearModel(model, fixed_point=True, plan=plan).classify(texts)
    every, expected = in_float.classify(texts), in_float.classify(chosen)
    found, seconds, bill = measured(folder, plan, chosen)
    apart = (found.logits - expected.logits).abs()
    tokens = [len(model.tokenizer.encode(text)) for text in chosen]
    for text, label, chances in zip(chosen, found.best, found.probabilities, strict=True):
        console.print(f"{label} {float(chances.max()):.0%}  {text[:90]}", markup=False, highlight=False)
    extra = {
        "agreed": same_labels(found, expected),
        "of": len(chosen),
        "fixed_agreed": same_labels(fixed, every),
        "fixed_of": len(texts),
        "labels": len(set(found.best)),
    }
    record = Record(
        case="classifier",
        plan=plan,
        model=Path(folder).name,
        tokens=sum(tokens),
        measured=True,
        bill=bill,
        seconds=seconds,
        error={"max": float(apart.max()), "mean": float(apart.mean())},
        network="loopback TCP with CURVE, three processes",
        extra=extra,
    )
    record.append(RECORDS / "classifier.jsonl")
    console.print(
        f"{extra['agreed']} of {len(chosen)} private labels are those of float, {extra['fixed_agreed']} of "
        f"{len(texts)} of the fixed-point reference; logits are off by {float(apart.max()):.4f} at most; "
        f"{statistics.median(seconds):.2f} s a text (median)"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["convert", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    if options.what == "run":
        texts = texts_of(options.texts, held_out=True)
        run(str(options.folder), options.plan, texts, options.count, Console())
        return
    out: Path = options.out or options.folder
    converted(options.folder, out)
    ranges = calibrate(load_model(str(out)), texts_of(options.texts, held_out=False)[:_CALIBRATED])
    save_ranges(out / "ranges.json", ranges)


if __name__ == "__main__":
    main()
