"""`mpcinfer prepare`: correlations of two parties without a dealer, made and kept before anybody asks."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options
from mpcinfer.sessions.addresses import Address, Identity
from parties.errors import ConfigError


def prepare(
    out: Annotated[Path, typer.Option(help="A new folder for this party's part.")],
    key: options.OwnKey,
    prompt: Annotated[
        int | None, typer.Option(min=1, help="The client's: tokens of every prompt, exactly.")
    ] = None,
    answer: Annotated[int, typer.Option(min=1, help="The client's: the most new tokens of an answer.")] = 24,
    count: Annotated[int, typer.Option(min=1, help="The client's: how many conversations.")] = 1,
    server: Annotated[str, typer.Option(help="The client's: where the server is.")] = "tcp://127.0.0.1:7100",
    server_key: Annotated[Path | None, typer.Option(help="The client's: the server's .public file.")] = None,
    client_key: Annotated[Path | None, typer.Option(help="The server's: the client's .public file.")] = None,
    listen: Annotated[
        str, typer.Option(help="The server's: where the client connects.")
    ] = "tcp://127.0.0.1:7100",
    model: options.Model = "tiny-python",
    plan: options.PlanName = "two-party",
    choices: options.Choices = None,
    timeout: options.Timeout = 60.0,
) -> None:
    """Make correlations with the other party, and keep them for conversations to come.

    For plans without a dealer. Both parties run it at the same time: who names --client-key is the server,
    who names --server-key the client, who says how many there are. Each keeps its own part, in a folder that
    only its user can read. Each conversation uses up one bundle of both.

    [bold]Example[/bold]

        mpcinfer prepare --out kept --key keys/server.secret --client-key keys/client.public
        mpcinfer prepare --out kept --key keys/client.secret --server-key keys/server.public --prompt 32 \\
            --answer 16 --count 3
        mpcinfer serve --plan two-party --correlations kept --key keys/server.secret \\
            --client-key keys/client.public
    """
    from mpcinfer.cli.kernels import compile_kernels
    from mpcinfer.cli.progress import Waiting, announce
    from mpcinfer.cli.tables import human_bytes
    from mpcinfer.models.load import load_model, load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.roles.preparing import prepare_as_client, prepare_as_server
    from mpcinfer.suites.registry import suite_of
    from mpcinfer.suites.requests import Kept
    from parties.keys import load_secret

    if (server_key is None) == (client_key is None):
        raise ConfigError("say who this is: --client-key at the server, --server-key at the client")
    if server_key is not None and prompt is None:
        raise ConfigError("--prompt: say how many tokens prompts have; the server hears it from the client")
    chosen = plan_from(plan, choices)
    suite = suite_of(chosen)
    bar, written = Waiting(), 0

    def show(done: int, of: int, size: int) -> None:
        nonlocal written
        written = size
        bar.step("making correlations", done, of, f"{done} of {of} conversations")

    words = [
        "mpcinfer",
        "prepare",
        "--model",
        model,
        "--plan",
        plan,
        *(f"--set={each}" for each in choices or []),
    ]
    words += (
        [] if prompt is None else ["--prompt", str(prompt), "--answer", str(answer), "--count", str(count)]
    )
    lengths = [] if prompt is None else [prompt, *(1,) * (answer - 1)]
    command = shlex.join([*words, "--out", "FOLDER"])
    kept = Kept(out=out, command=command, lengths=lengths, count=count, on_progress=show)
    public = load_public(model)
    with closing(bar):
        if client_key is not None:
            identity, weights = Identity.load(key, client_key), load_model(model).weights
            compile_kernels([suite])
            made = prepare_as_server(
                public,
                weights,
                chosen,
                kept,
                listen=listen,
                identity=identity,
                timeout_s=timeout,
                say=announce,
            )
        else:
            assert server_key is not None
            keys, address = load_secret(key), Address.load(server, server_key)
            compile_kernels([suite])
            made = prepare_as_client(public, chosen, kept, keys=keys, server=address, timeout_s=timeout)
    announce(f"kept the correlations of {made} conversations, {human_bytes(written)}, in {out}")
