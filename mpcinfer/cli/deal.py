"""`mpcinfer deal`: correlations to disk, before anybody asks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options, service_options
from mpcinfer.models.batch import MOST_PROMPTS, Batch
from mpcinfer.models.prefix_formats import features_named
from protocols.plan import DEFAULT_PLAN


def deal(
    out: Annotated[Path, typer.Option(help="A new folder; it gets a folder for each party.")],
    prompt: Annotated[
        int,
        typer.Option(
            min=1, help="Tokens of every prompt, exactly; of prompts of a batch that are padded, at most."
        ),
    ],
    answer: Annotated[int, typer.Option(min=1, help="The most new tokens of every answer.")] = 24,
    count: Annotated[int, typer.Option(min=1, help="How many conversations.")] = 1,
    batch: Annotated[
        int, typer.Option(min=1, max=MOST_PROMPTS, help="Prompts that every pass of a conversation runs.")
    ] = 1,
    equal_lengths: options.EqualLengths = False,
    pad: Annotated[
        bool, typer.Option("--pad", help="A single prompt may have fewer tokens, too: it is padded to them.")
    ] = False,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="FEATURES", help="Of conversations' prefix adapter, such as square."),
    ] = None,
    model: options.Model = "tiny-python",
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    ray: service_options.Ray = None,
    insecure_ray: service_options.InsecureRay = False,
) -> None:
    """Deal correlated randomness to disk, for conversations to come.

    Of the two folders that are written, OUT/server goes to the server and OUT/client to the client, and no
    copy stays here: whoever has both can decrypt everything. Each conversation uses up one bundle of both.

    [bold]Example[/bold]

        mpcinfer deal --model tiny-python --prompt 32 --answer 16 --count 3 --out correlations
        mpcinfer deal --model tiny-python --prompt 32 --answer 16 --batch 8 --out batches
        mpcinfer serve --model tiny-python --plan fss --correlations correlations/server \\
            --key keys/server.secret --client-key keys/client.public
    """
    from mpcinfer.cli.kernels import compile_kernels
    from mpcinfer.cli.progress import Waiting, announce
    from mpcinfer.cli.tables import human_bytes
    from mpcinfer.models.load import load_config, load_ranges_of
    from mpcinfer.plans import plan_from
    from mpcinfer.suites.registry import suite_of
    from mpcinfer.suites.requests import Ahead

    chosen, together = plan_from(plan, choices), Batch.of(batch, equal_lengths=equal_lengths, pad=pad)
    suite, features = suite_of(chosen), features_named(prefix)
    suite.require_prefix(chosen, load_config(model), features, together)
    compile_kernels([suite])
    tasks = None
    if ray is not None:
        from mpcinfer.service.ray_tasks import RayTasks

        tasks = RayTasks(service_options.cluster_of(ray, insecure=insecure_ray))
    bar, passes, written = Waiting(), 0, 0

    def show(done: int, of: int, size: int) -> None:
        nonlocal passes, written
        passes, written = of, size
        bar.step("dealing", done, of, f"{done} of {of} passes")

    ahead = Ahead(
        prompt=prompt,
        answer=answer,
        count=count,
        out=out,
        command=again(model, plan, choices or [], prompt, answer, count, together, prefix),
        batch=together,
        prefix=features,
        on_progress=show,
        elsewhere=tasks,
    )
    try:
        suite.deal_ahead(chosen, load_config(model), load_ranges_of(model), ahead)
    finally:
        bar.close()
    announce(f"dealt {passes} passes of {count} conversations, {human_bytes(written)}, into {out}")


def again(
    model: str,
    plan: str,
    choices: list[str],
    prompt: int,
    answer: int,
    count: int,
    batch: Batch,
    prefix: str | None = None,
) -> str:
    """The command line that makes more of these."""
    words = ["mpcinfer", "deal", "--model", model, "--plan", plan, *(f"--set={choice}" for choice in choices)]
    words += ["--prompt", str(prompt), "--answer", str(answer), "--count", str(count)]
    if batch.several:
        words += ["--batch", str(batch.size), *([] if batch.padded else ["--equal-lengths"])]
    elif batch.padded:
        words += ["--pad"]
    words += [] if prefix is None else ["--prefix", prefix]
    words += ["--out", "FOLDER"]
    return shlex.join(words)
