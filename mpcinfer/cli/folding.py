"""What `mpcinfer fold` does: folds, calibrates, writes, and compares bills and errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.cli.shown import shown_model, shown_path
from mpcinfer.cli.tables import human_bytes
from mpcinfer.cli.texts import sample_prompts
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.attention_only import AttentionOnly, fold_attention_only
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.folder import save_model
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.power_scale import power_scales, scale_power
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.plans import plan_from
from mpcinfer.suites.registry import suite_of
from parties.errors import ConfigError, RangeError
from protocols.plan import Plan

_SAMPLE_TOKENS = 24
"""Tokens of the first prompt on which fixed point is tried."""


def write_folded(
    model: str,
    out: Path,
    prompts: Path | None,
    plan: str,
    choices: Sequence[str],
    tokens: int,
    largest_condition: float,
) -> None:
    """Folds a model and writes it down; arguments are those of the command."""
    console, chosen, before = Console(highlight=False), plan_from(plan, choices), load_model(model)
    texts = [] if prompts is None else sample_prompts(prompts)
    after = _folded(console, before, texts, largest_condition)
    if texts:
        after = dataclasses.replace(after, ranges=calibrate(after, texts))
        before = dataclasses.replace(before, ranges=calibrate(before, texts))
    else:  # the new model has no ranges yet; bills are of the same widths or they compare nothing
        before = dataclasses.replace(before, ranges={})
    save_model(out, after, torch.float32)
    _print_bills(console, (before, after), chosen, min(tokens, before.config.context))
    if texts:
        _print_errors(console, (before, after), chosen, texts[0])
        console.print(f"{out}: written, with ranges from {len(texts)} prompts")
    else:
        console.print(
            f"{out}: written, not calibrated. Before a private run: "
            f"mpcinfer calibrate {shown_model(out)} --prompts FILE --out {shown_path(out / 'ranges.json')}",
            soft_wrap=True,
        )


def _folded(console: Console, model: Model, texts: list[str], largest_condition: float) -> Model:
    """Attention alone where the model allows it, and scaled powers."""
    config, weights = model.config, dict(model.weights)
    power = config.attention == "power" and bool(texts)
    try:
        folded = fold_attention_only(config, weights, largest_condition=largest_condition)
    except ConfigError:
        if not power:
            raise
    else:
        config, weights = folded.config, folded.weights
        _print_conditions(console, folded)
    if power:
        ids = [model.tokenizer.encode(text)[: config.context] for text in texts]
        scales = power_scales(config, weights, ids)
        config, weights = scale_power(config, weights, scales)
        console.print(
            f"scores divided by {float(scales.min()):.3g} to {float(scales.max()):.3g}, head by head"
        )
    single = {name: value.to(torch.float32) for name, value in weights.items()}
    return dataclasses.replace(model, config=config, weights=single, ranges={})


def _print_conditions(console: Console, folded: AttentionOnly) -> None:
    table = Table("basis of", "condition", header_style="bold", box=None)
    names = [*(f"layer {layer}" for layer in range(len(folded.conditions) - 1)), "the head"]
    for layer, (name, condition) in enumerate(zip(names, folded.conditions, strict=True)):
        table.add_row(name, f"{condition:,.1f}" + (", keeps its FFN" if layer < folded.kept else ""))
    console.print(table)
    if folded.kept:
        console.print(
            f"{folded.kept} FFNs stay: without them a condition would pass the limit", style="yellow"
        )


def _print_bills(console: Console, models: tuple[Model, Model], plan: Plan, tokens: int) -> None:
    """The blocks' bills, both with ranges or both without."""
    widths = "widths as calibrated" if models[1].ranges else "default widths"
    table = Table(f"blocks, {tokens} tokens, {plan.name}, {widths}", header_style="bold", box=None)
    for name in ("rounds", "online", "offline", "setup"):
        table.add_column(name, justify="right")
    for name, model in zip(("before", "after"), models, strict=True):
        try:
            total = count(model.config, plan, tokens=tokens, part="stack", ranges=model.ranges).total
        except (RangeError, ConfigError) as error:
            table.add_row(f"{name}: {error}")
            continue
        online = total.online_bytes_to_server + total.online_bytes_to_client
        offline = total.offline_bytes_to_server + total.offline_bytes_to_client
        sizes = (human_bytes(size) for size in (online, offline, total.setup_bytes))
        table.add_row(name, f"{total.rounds:,}", *sizes)
    console.print(table)


def _print_errors(console: Console, models: tuple[Model, Model], plan: Plan, text: str) -> None:
    """Errors of both models in fixed point, on a sample."""
    ids = models[0].tokenizer.encode(text)[:_SAMPLE_TOKENS]
    table = Table("fixed point", "largest error of a logit", header_style="bold", box=None)
    for name, model in zip(("before", "after"), models, strict=True):
        try:
            table.add_row(name, f"{_error(model, plan, ids):.3g}")
        except (RangeError, ConfigError) as error:
            table.add_row(name, f"cannot: {error}")
    console.print(table)


def _error(model: Model, plan: Plan, ids: list[int]) -> float:
    """Error of the last token's logits against the float model, under exact truncation."""
    wide = {name: value.double() for name, value in model.weights.items()}
    right = Session(Decoder(PlainBackend(), *static(model.config, wide))).step(ids)
    got = Session(suite_of(plan).reference(model, plan)).step(ids)
    return float((got - right).abs().max())
