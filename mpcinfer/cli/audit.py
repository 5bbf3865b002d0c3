"""`mpcinfer audit`: what opened values, shared gradients and a model's answers would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

audit = typer.Typer(
    help="Attack what plans open, what weaker protocols reveal, what shared gradients tell, and what a model "
    "has learnt by heart.",
    no_args_is_help=True,
)
Out = Annotated[
    Path | None, typer.Option("--out", help="A folder for a page and its numbers as JSON; none without it.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of secrets, models and noise; masks are always fresh.")]


@audit.command("openings")
def openings(
    plans: Annotated[
        list[str] | None,
        typer.Option(
            "--plan",
            help="A name from `mpcinfer list plans`, or a file; may be repeated.",
            show_default="fss, crypten and two-party",
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=2, help="Secrets between which the attacker chooses.")] = 8,
    trials: Annotated[int, typer.Option(min=1, help="Sessions to attack, a plan and a secret.")] = 24,
    prompts: Annotated[
        int, typer.Option(min=1, help="Prompts to find in each tensor of weaker protocols.")
    ] = 2,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Attack everything that a plan opens, and what weaker protocols would reveal.

    Each plan runs sessions of a small random model with taps on all that each party receives. The server, who
    knows the weights, names which of several prompts a session was of; the client names which of several
    models. At chance level both guess. The status is 1 where anything else is found.

    Beside it the tensors that permute-and-reveal protocols show: how many directions of a prompt each leaves
    open, how many tokens enumeration finds under noise, and how much of a layer a client extracts.

    A session of plan two-party takes seconds, as all of its correlations are made: minutes in all.

    [bold]Examples[/bold]

        mpcinfer audit openings --plan fss

        mpcinfer audit openings --plan crypten --trials 48 --out audit/
    """
    from mpcinfer.cli.audits import audit_openings

    clean = audit_openings(plans or ["fss", "crypten", "two-party"], candidates, trials, prompts, seed, out)
    raise typer.Exit(0 if clean else 1)


@audit.command("gradients")
def gradients(
    texts: Annotated[int, typer.Option(min=1, help="Texts to invert, with labels of each kind.")] = 4,
    spans: Annotated[
        int, typer.Option(min=1, help="Texts to look for by the span check, for each noise.")
    ] = 200,
    accountant: Annotated[
        bool, typer.Option("--accountant/--no-accountant", help="Count the epsilon of each amount of noise.")
    ] = True,
    out: Out = None,
) -> None:
    """Reconstruct texts from their gradients, and see what noise prevents and costs.

    Inference shares no gradients. Whoever trains or fits adapters across parties does: L-BFGS and
    Levenberg-Marquardt look for rows with the same gradients, the span check names tokens, and a classifier
    is trained on gradients that were clipped and noised as much.

    Epsilons are counted by opacus: pip install 'mpcinfer\\[audit]'.

        mpcinfer audit gradients --no-accountant --texts 1
    """
    from mpcinfer.cli.audits import audit_gradients

    audit_gradients(texts, spans, out, accountant=accountant)


@audit.command("extraction")
def extraction(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, a path, or a training run.")],
    texts: Annotated[
        list[Path],
        typer.Option(
            "--text",
            help="A file, or a folder of .py, .txt and .md files, that the model should not repeat; may be "
            "repeated, each with rows of its own.",
        ),
    ],
    prefixes: Annotated[
        list[int] | None,
        typer.Option(
            "--prefix",
            min=1,
            help="Tokens of the text that the model is given; may be repeated.",
            show_default="8, 16 and 32",
        ),
    ] = None,
    continuation: Annotated[
        int, typer.Option(min=1, help="Tokens that must follow, all of them right.")
    ] = 16,
    stride: Annotated[
        int, typer.Option(min=1, help="Tokens from one prefix of a text to the next; more take less time.")
    ] = 1,
    at_most: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="End with status 1 where a larger fraction is verbatim; no limit without it."
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Give a model the beginnings of texts, and count which it goes on with word for word.

    No private run prevents this: the client is meant to get the answers, and the server cannot filter what it
    does not see. What a model must not repeat is decided in training: `mpcinfer train --protect FILE`.

    Text that the model cannot know, as a --text of its own, says what any text gets: predictable text is
    continued by a model that never saw it. The model is run in the clear, a pass for every prefix.

    [bold]Examples[/bold]

        mpcinfer audit extraction tiny-python --text secrets.txt

        mpcinfer audit extraction MODEL --text protected/ --text unseen.txt --at-most 0.01 --out audit/
    """
    from mpcinfer.cli.audits import audit_extraction

    kept = audit_extraction(model, texts, prefixes or [8, 16, 32], continuation, stride, at_most, out)
    raise typer.Exit(0 if kept else 1)
