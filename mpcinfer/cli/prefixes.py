"""What the commands of `mpcinfer prefix` do."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mpcinfer.cli.progress import Waiting, announce
from mpcinfer.models.prefix_formats import features_named
from mpcinfer.new_file import require_new_file
from mpcinfer.text_file import read_text_file
from parties.errors import RangeError

if TYPE_CHECKING:
    from mpcinfer.models.attention_state import FeatureMap
    from mpcinfer.models.model import Model
    from mpcinfer.prefix.adapter import PrefixAdapter


def fit_to(
    name: str,
    text: Path,
    out: Path,
    tokens: int | None,
    queries: Path | None,
    windows: tuple[int, int],
    features: str | None,
) -> None:
    """Fits and writes an adapter, and says how near it is; arguments as the command has them."""
    from mpcinfer.models.load import load_model
    from mpcinfer.prefix.file import save_adapter
    from mpcinfer.prefix.fit import fit_prefix

    require_new_file(out, "--out")
    model = load_model(name)
    ids = model.tokenizer.encode(read_text_file(text))
    prefix, rest = ids[:tokens], ids[tokens:] if tokens is not None else []
    if queries is not None:
        rest = model.tokenizer.encode(read_text_file(queries))
    count, length = windows
    pieces = [rest[i * length : (i + 1) * length] for i in range(min(count, len(rest) // length))]
    with closing(Waiting()) as bar:
        fit = fit_prefix(
            model,
            prefix,
            pieces,
            _features(model, features),
            lambda done, of: bar.step("fitting", done, of, f"layer {done} of {of}"),
        )
    adapter = dataclasses.replace(fit.adapter, made_by=f"mpcinfer prefix fit, {len(pieces)} pieces")
    save_adapter(adapter, out)
    console = Console()
    console.print(f"{out}: features {adapter.features}, {_elements(adapter):,} numbers")
    if adapter.features == "pairs":
        console.print("exact: the sums are those over the prefix's own keys")
    else:
        shown = ", ".join(f"{error:.2f}" for error in fit.errors)
        console.print(f"error by layer on fresh queries (0 exact, 1 as without a prefix): {shown}")
    if model.config.positions == "learned":
        console.print(
            "this model has learned positions, and prefix and text both begin at 0: a given prefix may do "
            "harm. Compare answers, or train an adapter (`mpcinfer prefix train`)",
            style="yellow",
        )
    _tell_whether_private(adapter)


def train_on(
    name: str,
    text: Path,
    out: Path,
    start: Path | None,
    features: str | None,
    length: int,
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> None:
    """Trains and writes an adapter; arguments as the command has them."""
    from mpcinfer.models.load import load_model
    from mpcinfer.prefix.file import load_adapter, save_adapter
    from mpcinfer.prefix.train import Recipe, train_prefix

    require_new_file(out, "--out")
    model, recipe = load_model(name), Recipe(steps=steps, batch=batch, rate=rate, seed=seed)
    before = None if start is None else load_adapter(start)
    which = before.features if before is not None and features is None else _features(model, features)
    ids = model.tokenizer.encode(read_text_file(text))
    pieces = [ids[at : at + length + 1] for at in range(0, len(ids) - length, length)]
    with closing(Waiting()) as bar:
        done = train_prefix(
            model,
            pieces,
            which,
            recipe,
            start=before,
            on_progress=lambda step, of, loss: bar.step("training", step, of, f"{loss:.3f} nats a token"),
        )
    adapter = dataclasses.replace(done.adapter, made_by=f"mpcinfer prefix train, {steps} steps")
    save_adapter(adapter, out)
    Console().print(
        f"{out}: features {which}, {_elements(adapter):,} numbers; "
        f"{done.losses[0]:.3f} nats a token at first, {done.losses[-1]:.3f} at last"
    )
    _tell_whether_private(adapter)


def split_to(adapter: Path, name: str, client: Path, server: Path) -> None:
    """Writes two shares of an adapter."""
    from mpcinfer.models.load import load_public
    from mpcinfer.prefix.file import load_adapter, split_adapter
    from parties.randomness import SystemRandom

    for path in (client, server):
        require_new_file(path)
    split_adapter(load_adapter(adapter), load_public(name), (client, server), SystemRandom())
    Console().print(f"{client} for the client, {server} for the server: both together are the adapter")


def _features(model: Model, features: str | None) -> FeatureMap:
    """As asked for, or those of the model's attention."""
    named = features_named(features)
    return named or ("pairs" if model.config.attention == "power" else "square")


def _elements(adapter: PrefixAdapter) -> int:
    return sum(each.numel() for each in (*adapter.sums, *adapter.beside))


def _tell_whether_private(adapter: PrefixAdapter) -> None:
    """A line where private runs do not hold it."""
    try:
        adapter.fixed()
    except RangeError as error:
        announce(f"only for --local plain: {error} (fewer tokens of prefix, or more steps, bring it nearer)")
        return
    if adapter.features == "elu":
        announce("only for --local plain: features elu are not in private runs")
