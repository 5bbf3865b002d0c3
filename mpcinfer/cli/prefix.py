"""`mpcinfer prefix`: adapters that stand for a long prefix."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options

prefix = typer.Typer(
    help="Make and share prefix adapters: a long prefix as two sums a head, of any length at one cost.",
    no_args_is_help=True,
)


class Features(StrEnum):
    """Which features of queries an adapter sums over."""

    SQUARE = "square"
    ELU = "elu"
    PAIRS = "pairs"


ModelName = Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path; with its weights.")]
Out = Annotated[Path, typer.Option(help="The adapter's file, which is not there yet.")]
Which = Annotated[
    Features | None,
    typer.Option(
        help="square: (c q + 1)^2, for softmax; elu: as published, in float alone; pairs: exact, for "
        "attention of power 2.",
        show_default="pairs for power 2, square for softmax",
    ),
]


@prefix.command("fit")
def fit(
    model: ModelName,
    text: Annotated[Path, typer.Option(help="A text file that begins with the prefix.")],
    out: Out,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of the text that are the prefix; all without it.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Another text, as prompts will be: its queries are fitted to, and say how near the fit is.",
            show_default="the rest of the text",
        ),
    ] = None,
    windows: Annotated[
        int, typer.Option(min=4, help="Pieces of that text, each seen after the prefix.")
    ] = 32,
    length: Annotated[int, typer.Option(min=2, help="Tokens of a piece.")] = 48,
    features: Which = None,
) -> None:
    """Fit an adapter to a given prefix: a system prompt, say, that nobody else is to see.

    Under attention of power 2 the adapter is exact. Under softmax it is near, on queries like those that it
    was fitted to: the command says how near, 0 being exact and 1 as far off as without a prefix. Models with
    RoPE see the prefix before the text; with learned positions both have positions from 0 on.

    [bold]Examples[/bold]

        mpcinfer prefix fit smollm2-135m-instruct --text system.txt --queries chats.txt --out my.prefix
        mpcinfer prefix fit smollm2-135m-instruct --text chats.txt --tokens 128 --out my.prefix
        mpcinfer generate "Who are you?" --local private --model smollm2-135m-instruct --prefix my.prefix
    """
    from mpcinfer.cli.prefixes import fit_to

    fit_to(model, text, out, tokens, queries, (windows, length), features and features.value)


@prefix.command("train")
def train(
    model: ModelName,
    text: Annotated[Path, typer.Option(help="A text file whose cross-entropy is to fall.")],
    out: Out,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Adam.")] = 200,
    batch: Annotated[int, typer.Option(min=1, help="Windows of a step.")] = 8,
    length: Annotated[int, typer.Option(min=2, help="Tokens of a window.")] = 48,
    rate: Annotated[float, typer.Option(min=0.0, help="Of learning.")] = 1e-2,
    start: Annotated[
        Path | None, typer.Option(help="An adapter to go on from, such as a fitted one.")
    ] = None,
    features: Which = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of windows.")] = 0,
) -> None:
    """Train an adapter on a text, with the model as it is.

    A LoRA that is merged into the weights costs a private run nothing: train that where the model's owner may
    have the result. An adapter is for a prefix that belongs to somebody else, or that must come off again.

    [bold]Examples[/bold]

        mpcinfer prefix train tiny-python --text code.py --out my.prefix
        mpcinfer prefix train tiny-python --text code.py --start fitted.prefix --out my.prefix --steps 400
    """
    from mpcinfer.cli.prefixes import train_on

    train_on(
        model,
        text,
        out,
        start,
        features and features.value,
        length,
        steps=steps,
        batch=batch,
        rate=rate,
        seed=seed,
    )


@prefix.command("split")
def split(
    adapter: Annotated[Path, typer.Argument(help="An adapter's file.")],
    client: Annotated[Path, typer.Option(help="The client's share, a new file.")],
    server: Annotated[Path, typer.Option(help="The server's share, a new file.")],
    model: options.Model = "tiny-python",
) -> None:
    """Split an adapter into two shares, for a client and a server that are not to know it.

    Each share by itself is uniformly random. Give each party its file, and delete both and the adapter where
    they were made. A run then takes `generate --prefix CLIENT` and `serve --prefix SERVER`.

    [bold]Examples[/bold]

        mpcinfer prefix split my.prefix --client client.share --server server.share --model tiny-python
    """
    from mpcinfer.cli.prefixes import split_to

    split_to(adapter, model, client, server)
