"""Prefix adapters of power 2 attention: bytes of private answers against the prefix's length, and how exact
they are. Commands, records and tables are those of `bench.prefixes`.

The model is `tiny-power4` with power 2 in place of 4, calibrated anew, and not trained on: what it says is
worth nothing, its bytes and distances are those of any model of this shape.
"""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.markdown import table
from bench.records import Record
from mpcinfer import PublicModel, load_model, private
from mpcinfer.backends.feature_maps import pairs_of_keys
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.folder import save_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.plans import get_plan
from mpcinfer.prefix.adapter import PrefixAdapter, model_digest
from mpcinfer.prefix.file import save_adapter
from mpcinfer.prefix.fit import fit_prefix
from mpcinfer.prefix.teacher import prefix_keys, teacher_logits
from mpcinfer.suites.fss.reference import reference_decoder

START, NAME, PLAN = "tiny-power4", "tiny-power4, power 2", "fss"
PREFIXES = (16, 64, 128)
"""Of tokens that the model has positions for."""
WINDOW, ROOM = 16, 64
SCALE = 0.1
"""Of random keys; 65,536 of them stay within what private runs hold."""


def power_two() -> Model:
    """The model, with ranges of its own."""
    start = load_model(START)
    model = dataclasses.replace(
        start, name=NAME, config=dataclasses.replace(start.config, power=2), ranges={}
    )
    return dataclasses.replace(model, ranges=calibrate(model, _texts(model)))


def _texts(model: Model) -> list[str]:
    """Pieces of Python, each within the model's context."""
    ids = _ids(model)
    return [model.tokenizer.decode(ids[at : at + ROOM]) for at in range(0, 16 * ROOM, ROOM)]


def _ids(model: Model) -> list[int]:
    return list(model.tokenizer.encode(inspect.getsource(textwrap)))


def random_adapter(model: Model, length: int) -> PrefixAdapter:
    """Sums over random keys and values, with the offsets and epsilons of the model."""
    config, generator = model.config, torch.Generator().manual_seed(length)
    sums: list[torch.Tensor] = []
    for layer in range(config.layers):
        shape = (1, config.heads, length, config.head_width)
        k, v = (torch.randn(shape, generator=generator).double() * SCALE for _ in "kv")
        offset = model.weights.get(f"layer{layer}.attn.offset")
        if offset is not None:
            column = offset.double()[:, None, None] + config.attention_shift
            k = torch.cat([k, column.expand(1, config.heads, length, 1)], -1)
        ones = torch.ones_like(v[..., :1])
        sums.append(pairs_of_keys(k).transpose(-1, -2) @ torch.cat([v, ones], -1))
    beside = torch.full((1, config.heads, 1, 1), config.attention_epsilon * length, dtype=torch.float64)
    return PrefixAdapter(
        features="pairs",
        sums=tuple(sums),
        beside=tuple(beside.clone() for _ in range(config.layers)),
        model=model_digest(PublicModel.of(model)),
    )


def measure_bytes(path: Path, lengths: tuple[int, ...], prompt: str, new_tokens: int) -> None:
    """A private answer without a prefix, and one over each adapter."""
    model = power_two()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(folder, model)
        for length in (0, *lengths):
            adapter = Path(name) / f"adapter-{length}"
            if length:
                save_adapter(random_adapter(model, length), adapter)
            prefix = str(adapter) if length else None
            with private(str(folder), plan=PLAN, prefix=prefix, timeout_s=300.0) as client:
                client.complete(prompt, max_new_tokens=new_tokens)
                bill = client.finish()
            Record(
                case="answer, pairs",
                plan=PLAN,
                model=NAME,
                tokens=new_tokens,
                measured=True,
                bill=dataclasses.asdict(bill.total),
                network="loopback",
                extra={"keys": length},
            ).append(path)
            Console().print(f"{length:,} keys: {bill.total.rounds} rounds")


def measure_exactness(path: Path) -> None:
    """Logits over an adapter against those over the prefix's keys, in float64 and privately."""
    model = power_two()
    ids = _ids(model)
    text, windows = ids[:WINDOW], [ids[at : at + WINDOW] for at in range(0, 4 * WINDOW, WINDOW)]
    for length in PREFIXES:
        prefix = ids[-length:]
        right = teacher_logits(model, text, prefix_keys(model, prefix))[0][-1]
        without = teacher_logits(model, text, ())[0][-1]
        adapter = fit_prefix(model, prefix, windows, "pairs").adapter
        found = {
            "float64": _float_logits(model, text, adapter),
            "fixed point": _fixed_logits(model, text, adapter),
            "without": without,
        }
        spread = float(right.std())
        error = {name: float((each - right).abs().max()) / spread for name, each in found.items()}
        Record(
            case="exact, pairs", plan=PLAN, model=NAME, tokens=length, measured=True, bill={}, error=error
        ).append(path)
        Console().print(f"{length:,} tokens: {error}")


def _float_logits(model: Model, text: list[int], adapter: PrefixAdapter) -> torch.Tensor:
    config, weights = static(model.config, model.weights)
    backend, whole = PlainBackend(), {name: value.double() for name, value in weights.items()}
    decoder = Decoder(backend, config, whole, adapter.states())
    return decoder.forward(backend.tokens(text, len(text)), len(text), rows=1).reshape(-1)


def _fixed_logits(model: Model, text: list[int], adapter: PrefixAdapter) -> torch.Tensor:
    decoder = reference_decoder(model, get_plan("fss-faithful"), max_context=ROOM, prefix=adapter)
    return Session(decoder, KVCache()).step(text).reshape(-1)


def bytes_rows(records: list[dict[str, Any]]) -> list[list[str]]:
    """The newest record of each length: keys, rounds, online and offline bytes."""
    found = {each["extra"]["keys"]: each["bill"] for each in records}
    rows: list[list[str]] = []
    for keys, bill in sorted(found.items()):
        online = bill["online_bytes_to_server"] + bill["online_bytes_to_client"]
        offline = bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]
        rows.append([f"{keys:,}" if keys else "none", str(bill["rounds"]), f"{online:,}", f"{offline:,}"])
    return rows


def exact_table(records: list[dict[str, Any]]) -> str:
    """The newest record of each length."""
    found = {each["tokens"]: each["error"] for each in records}
    rows = [
        [f"{length:,}", f"{error['float64']:.1e}", f"{error['fixed point']:.3f}", f"{error['without']:.2f}"]
        for length, error in sorted(found.items())
    ]
    return table(["tokens of the prefix", "float64", "private (`fss-faithful`)", "without the prefix"], rows)
