"""What trained variants are worth and cost: records of `bench.variants`, pictures, and their table."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.markdown import table
from bench.records import RECORDS, Record
from bench.variants_runs import BASE, Entry, runs
from mpcinfer import ClearModel, private
from mpcinfer.counting import count
from mpcinfer.entropy.curves import EntropyAtStep, entropy_curve
from mpcinfer.entropy.measure import causal_bound
from mpcinfer.entropy.plots import figure
from mpcinfer.models.attention_only import fold_attention_only
from mpcinfer.models.folder import load_model_folder, save_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.plans import plan_from
from mpcinfer.suites.registry import get_plan
from mpcinfer.training.log import read_log
from mpcinfer.training.options import FOLDER
from parties.bill import BillRow
from parties.errors import ConfigError, RangeError
from protocols.plan import Plan

FILE = "variants.jsonl"
PLANS = ("fss", "crypten")
PROMPT = "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"
NEW_TOKENS = 8
DRAWN = ("SM+LN+G", "SM+G", "SM", "SM+ScFuFFN", "EReg(SM+G)", "EReg(SM)", "EReg(SM(t)+ScFuFFN)", "power4")
"""Panels of the pictures, where they were trained."""


def report(out: Path, pictures: Path, *, quick: bool = False) -> None:
    """Records every run that is done, and draws the entropies of the first seeds.

    Args:
        quick: without bills and private runs; those recorded before stay in the table.
    """
    console = Console()
    drawn: dict[bool, dict[str, list[EntropyAtStep]]] = {False: {}, True: {}}
    for entry, seed in runs():
        folder = entry.folder(out, seed)
        if not (folder / FOLDER / "done").exists():
            console.print(f"{folder.name}: not trained yet")
            continue
        log = read_log(folder / FOLDER)
        found = _quality(log)
        model = load_model_folder(folder)
        found |= {"name": entry.name, "seed": seed, "parameters": model.config.parameters}
        found |= {"stressed": entry.stressed, "divisors": _divisors(model)}
        if seed == 0:
            drawn[entry.stressed][entry.name] = entropy_curve(log)
        if seed == 0 and not quick and not entry.stressed:
            found |= _costs_and_texts(entry, folder, diverged=found["diverged_at"] is not None)
        console.print_json(json.dumps(found))
        Record(
            case="variant",
            plan="",
            model=entry.name,
            tokens=BASE.context,
            measured=True,
            bill={},
            extra=found,
        ).append(RECORDS / FILE)
    pictures.mkdir(parents=True, exist_ok=True)
    for stressed, prefix in ((False, ""), (True, "stressed-")):
        chosen = {name: drawn[stressed][name] for name in DRAWN if drawn[stressed].get(name)}
        if chosen:
            _draw_heads(pictures / f"{prefix}heads.png", chosen)
            _draw_curves(pictures / f"{prefix}curves.png", chosen)


def _divisors(model: Model) -> list[float] | None:
    """The least and the largest divisor of power attention that calibration saw."""
    ends = [
        [value for name, value in model.ranges.items() if name.endswith(f"power/divisor_{end}")]
        for end in ("min", "max")
    ]
    return [min(ends[0]), max(ends[1])] if ends[0] else None


def _quality(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Held-out loss, entropies and penalties at the end of a run."""
    last = next(line for line in reversed(log) if "held_out_loss" in line)
    curve, summary = entropy_curve(log), None
    if curve:
        summary = {key: _plain(value) for key, value in dataclasses.asdict(curve[-1].summary).items()}
    diverged = [line["step"] for line in log if line.get("diverged")]
    return {
        "steps": last["step"],
        "held_out_loss": _plain(last["held_out_loss"]),
        "entropy": summary,
        "diverged_at": diverged[0] if diverged else None,
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _costs_and_texts(entry: Entry, folder: Path, *, diverged: bool) -> dict[str, Any]:
    """Bills of the blocks, counted; a private text under the plan with exact truncation, next to its
    reference's."""
    model = load_model_folder(folder, name=folder.name)
    if diverged or not model.ranges:
        return {}
    result: dict[str, Any] = {"bills": _bills(model)}
    result["private"] = _private(model, folder)
    if "ScFuFFN" in entry.variant:
        folded = _folded(model, folder)
        result["folded"] = {"bills": _bills(folded), "private": _private(folded, folder / "folded")}
    return result


def _total(model: Model, plan: Plan) -> BillRow | None:
    """Of the blocks over a full context; None where the plan cannot run them."""
    try:
        return count(model.config, plan, tokens=BASE.context, part="stack", ranges=model.ranges).total
    except (ConfigError, RangeError):
        return None


def _choices(model: Model, plan: str) -> tuple[str, ...]:
    """What a plan must replace for the model: histograms hold scores up to some 128."""
    chosen = get_plan(plan)
    fits = "maximum" not in chosen.choices or _total(model, chosen) is not None
    return () if fits else ("maximum=tree",)


def _bills(model: Model) -> dict[str, dict[str, int]]:
    """Rounds and bytes of the blocks by plan; without plans that cannot run them."""
    bills: dict[str, dict[str, int]] = {}
    for plan in PLANS:
        total = _total(model, plan_from(plan, _choices(model, plan)))
        if total is None:
            continue
        bills[plan] = {
            "rounds": total.rounds,
            "online_bytes": total.online_bytes_to_server + total.online_bytes_to_client,
            "offline_bytes": total.offline_bytes_to_server + total.offline_bytes_to_client,
        }
    return bills


def _private(model: Model, folder: Path) -> dict[str, Any]:
    """A text as three processes write it under two plans: equal to the reference, and its measured bill."""
    try:
        choices = _choices(model, "fss")
        with private(str(folder), plan="fss-faithful", choices=choices, timeout_s=300) as client:
            text = client.complete(PROMPT, max_new_tokens=NEW_TOKENS)
            max_context = client.max_context
    except RangeError as error:
        return {"refused": str(error)}
    reference = ClearModel(
        model, fixed_point=True, plan="fss-faithful", choices=choices, max_context=max_context
    )
    expected = reference.complete(PROMPT, max_new_tokens=NEW_TOKENS)
    with private(str(folder), plan="fss", choices=choices, timeout_s=300) as client:
        started = time.perf_counter()
        client.complete(PROMPT, max_new_tokens=NEW_TOKENS)
        seconds = time.perf_counter() - started
        total = client.finish().total
    return {
        "same": text.ids == expected.ids,
        "choices": list(choices),
        "text": text.text,
        "fss": {
            "rounds": total.rounds,
            "online_bytes": total.online_bytes_to_server + total.online_bytes_to_client,
            "seconds": seconds,
        },
    }


def _folded(model: Model, folder: Path) -> Model:
    """The model as attention alone, calibrated on what it says itself, and saved."""
    found = fold_attention_only(model.config, model.weights)
    weights = {name: value.float() for name, value in found.weights.items()}
    folded = dataclasses.replace(model, config=found.config, weights=weights, ranges={})
    texts = [PROMPT, ClearModel(model).complete(PROMPT, max_new_tokens=64).text]
    folded = dataclasses.replace(folded, ranges=calibrate(folded, texts))
    save_model(folder / "folded", folded, torch.float32)
    return folded


# -- pictures ------------------------------------------------------------------------------------------------


def _draw_heads(path: Path, drawn: dict[str, list[EntropyAtStep]]) -> None:
    """Entropy by layer and head at the end of training, a panel a variant."""
    columns = 4
    rows = math.ceil(len(drawn) / columns)
    sheet = figure(2.5 * columns, 2.4 * rows)
    panels = sheet.subplots(rows, columns, squeeze=False)
    bound, image = causal_bound(BASE.context), None
    for axes in panels.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes, (name, curve) in zip(panels.flat, drawn.items(), strict=False):
        values = curve[-1].entropies.entropy
        image = axes.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=bound, aspect="auto")
        for layer, head in [(i, j) for i in range(values.shape[0]) for j in range(values.shape[1])]:
            value = float(values[layer, head])
            said = "NaN" if math.isnan(value) else f"{value:.2f}"
            colour = "black" if math.isnan(value) or value > 0.65 * bound else "white"
            axes.text(head, layer, said, ha="center", va="center", fontsize=7, color=colour)
        axes.set_title(name, fontsize=8)
        axes.set_xticks(range(values.shape[1]))
        axes.set_yticks(range(values.shape[0]))
        axes.tick_params(labelsize=7)
    sheet.supxlabel("head", fontsize=8)
    sheet.supylabel("layer", fontsize=8)
    sheet.colorbar(image, ax=panels, label=f"entropy, nats (bound {bound:.2f})")
    sheet.savefig(path, dpi=120)


def _draw_curves(path: Path, drawn: dict[str, list[EntropyAtStep]]) -> None:
    """Mean entropy of every layer over training, a panel a variant."""
    columns = 4
    rows = math.ceil(len(drawn) / columns)
    sheet = figure(2.5 * columns, 2.2 * rows)
    panels = sheet.subplots(rows, columns, squeeze=False, sharey=True)  # some runs ended early
    bound = causal_bound(BASE.context)
    for axes in panels.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes, (name, curve) in zip(panels.flat, drawn.items(), strict=False):
        steps = [point.step for point in curve]
        for layer in range(len(curve[0].layer_means())):
            axes.plot(steps, [point.layer_means()[layer] for point in curve], label=f"layer {layer}")
        axes.axhline(bound, color="#808080", linestyle="--", linewidth=1)
        axes.set_title(name, fontsize=8)
        axes.set_ylim(0, 1.08 * bound)
        axes.tick_params(labelsize=7)
    panels.flat[0].legend(fontsize=6)
    sheet.supxlabel("training step", fontsize=8)
    sheet.supylabel("mean head entropy, nats", fontsize=8)
    sheet.savefig(path, dpi=120)


# -- the table -----------------------------------------------------------------------------------------------


def trained_table() -> str:
    """Quality, entropies and bills of what was trained."""
    rows: list[list[str]] = []
    for name, found in _newest(stressed=False).items():
        first = found[0]
        rows.append([name, _perplexity(found), f"{first['parameters'] / 1e6:.2f} M", *_entropy_cells(first)])
        rows[-1] += [*_bill_cells(first), _text_cell(first)]
        if "folded" in first:
            rows.append([f"{name}, folded", "the same", "", "", "", ""])
            rows[-1] += [*_bill_cells(first["folded"]), _text_cell(first["folded"])]
    header = ["variant", "perplexity (seeds)", "parameters", "mean entropy", "overloaded", "collapsed"]
    header += ["`fss`: rounds", "online", "`crypten`: rounds", "online", "private text"]
    return table(header, rows)


def stressed_table() -> str:
    """What deep models do at a high rate."""
    rows = [
        [name, _perplexity(found), *_entropy_cells(found[0])]
        for name, found in _newest(stressed=True).items()
    ]
    return table(["variant", "perplexity", "mean entropy", "overloaded", "collapsed"], rows)


def divisors_table() -> str:
    """How far the divisors of power attention reach, and what that took in quality."""
    rows: list[list[str]] = []
    for name, found in _newest(stressed=False).items():
        reached = [extra["divisors"] for extra in found if extra.get("divisors")]
        if not reached:
            continue
        low, high = min(low for low, _ in reached), max(high for _, high in reached)
        span = f"{math.log2(high / low):.0f}"
        rows.append([name, f"{low:.1e}", f"{high:,.4g}", span, _perplexity(found)])
    return table(["attention", "least divisor", "largest", "octaves", "perplexity (seeds)"], rows)


def _newest(*, stressed: bool) -> dict[str, list[dict[str, Any]]]:
    """What was recorded of every run, by name, first seed first; a run's newest record counts."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for line in (RECORDS / FILE).read_text().splitlines():
        extra = json.loads(line)["extra"]
        if extra.get("stressed", False) == stressed:
            key = extra["name"], extra["seed"]
            newest[key] = {**newest.get(key, {}), **extra}
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, _), extra in sorted(newest.items(), key=lambda item: item[0][1]):
        found.setdefault(name, []).append(extra)
    return found


def perplexities(name: str) -> list[float]:
    """Of every seed of a variant in the table, on held-out text; none where it was not trained."""
    return _perplexities(_newest(stressed=False).get(name, []))


def _perplexities(found: Sequence[dict[str, Any]]) -> list[float]:
    return [math.exp(extra["held_out_loss"]) for extra in found if extra["held_out_loss"] is not None]


def _perplexity(found: Sequence[dict[str, Any]]) -> str:
    values = _perplexities(found)
    diverged = [str(extra["diverged_at"]) for extra in found if extra["diverged_at"] is not None]
    said = f", diverged at step {', '.join(diverged)}" if diverged else ""
    if not values:
        return f"none{said}"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)}){said}"


def _entropy_cells(extra: dict[str, Any]) -> list[str]:
    entropy = extra["entropy"]
    if entropy is None or entropy["mean"] is None:
        return ["NaN", "", ""]
    return [f"{entropy['mean']:.2f}", f"{entropy['overloaded']:.0%}", f"{entropy['collapsed']:.0%}"]


def _bill_cells(extra: dict[str, Any]) -> list[str]:
    cells: list[str] = []
    for plan in PLANS:
        bill = extra.get("bills", {}).get(plan)
        cells += (
            ["none", ""] if bill is None else [str(bill["rounds"]), f"{bill['online_bytes'] / 1e6:.2f} MB"]
        )
    return cells


def _text_cell(extra: dict[str, Any]) -> str:
    if "private" not in extra:
        return "not run"
    if "refused" in extra["private"]:
        return "refused"
    said = "the reference's" if extra["private"]["same"] else "DIFFERS"
    return ", ".join([said, *(f"`{choice}`" for choice in extra["private"].get("choices", []))])


TABLES = {"trained": trained_table, "stressed": stressed_table, "divisors": divisors_table}
