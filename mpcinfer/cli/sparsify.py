"""`mpcinfer sparsify`: which keys each head of a model needs to see, from public text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sparsify(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    text: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="A public text, UTF-8; again for more.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="The file to write.")],
    error: Annotated[
        float, typer.Option(help="How far each layer's attention may be off, relative to all it adds.")
    ] = 0.1,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,..",
            help="Lengths of rows to measure at, two or more.",
            show_default="64,128,256,512, as far as texts and context go",
        ),
    ] = None,
) -> None:
    """Fit a public pattern of keys to every head of a causal model.

    Each head sees ceil(alpha n^C) of n keys: a few of the first, a local window and, where that helps, keys
    spread between; heads that add next to nothing are dropped. alpha and C are fitted to the smallest sets
    whose OUTPUT is near enough on the text, layer by layer, in the clear. Keys that a query does not see are
    neither computed with, opened, nor dealt for. The pattern is public and must come from public text: one
    fitted to private text would tell of it.

    FILE.json is a MODEL wherever a name is expected, with ranges that hold for it; both parties need the
    same.

    [bold]Examples[/bold]

        mpcinfer sparsify tiny-python --text docs/protocols.md --out sparse.json --lengths 32,64,128
        mpcinfer cost MODEL --tokens 128
        mpcinfer generate "for i in" --local private --model MODEL
    """
    from mpcinfer.cli.sparsifying import write_patterns

    numbers = None if lengths is None else _numbers(lengths)
    write_patterns(model, text, out, error, numbers)


def _numbers(text: str) -> list[int]:
    from parties.errors import ConfigError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--lengths {text!r}: expected whole numbers, such as 64,128,256") from None
