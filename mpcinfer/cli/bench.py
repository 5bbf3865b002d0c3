"""`mpcinfer bench`: measure operations, blocks and models, and compare what was measured."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_HELP = """Measure operations, blocks and whole models, each with an exact bill.

[bold]mpcinfer bench[/bold] NAME ... is [bold]mpcinfer bench run[/bold] NAME ...

Cases are made from all that is registered, and called so:

    operation/gelu/fss/lines/T128     a protocol: operation, suite, protocol, tokens
    block/gpt2/SM+LN+G/fss/T128       one block with random weights: shape, variant (or own), plan, tokens
    stack/gpt2/SM+LN+G/fss/T128       all its blocks
    model/tiny-python/fss/T32         a prompt's pass through a model (or a model folder)
    token/tiny-python/fss/T32         a token after that prompt, over the KV cache

[bold]Examples[/bold]

    mpcinfer bench --list
    mpcinfer bench run "operation/gelu/*" --how counted
    mpcinfer bench run "model/tiny-python/*" "token/tiny-python/*" --repeat 3 --out mine.jsonl
    mpcinfer bench run block/gpt2/SM+LN+G/fss/T128 --how emulated --network lan-1g --network wan-100m
    mpcinfer bench compare before.jsonl after.jsonl
"""
OUT = Path("bench.jsonl")


class How(StrEnum):
    """Where seconds come from."""

    COUNTED = "counted"
    LOOPBACK = "loopback"
    SHAPED = "shaped"
    EMULATED = "emulated"


class _RunsByDefault(TyperGroup):
    """A group whose first word may be a case instead of a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


bench = typer.Typer(cls=_RunsByDefault, help=_HELP, no_args_is_help=True, rich_markup_mode="rich")


@bench.command("run")
def run(
    names: Annotated[
        list[str] | None, typer.Argument(help="Cases, by name or by pattern with *, ? and [...].")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Only name the cases that match; all without names.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be run, and about how long it takes.")
    ] = False,
    how: Annotated[
        How,
        typer.Option(
            help="counted: no run. loopback: processes on this machine. shaped: our own channel made slow. "
            "emulated: a slow network outside of the parties."
        ),
    ] = How.LOOPBACK,
    networks: Annotated[
        list[str] | None,
        typer.Option("--network", help="By name: loopback, lan-10g, lan-1g, wan-400m, wan-100m."),
    ] = None,
    bandwidth: Annotated[
        str | None, typer.Option(metavar="200Mbit", help="One more network, with --latency.")
    ] = None,
    latency: Annotated[str | None, typer.Option(metavar="20ms", help="Its latency, one way.")] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="Repetitions of every case, each in fresh processes.")
    ] = 3,
    tokens: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Tokens of the cases that patterns match, instead of 128 and 32."),
    ] = None,
    plans: Annotated[
        list[str] | None,
        typer.Option("--plan", help="Plans of the cases that patterns match, instead of all."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Records are added here; cases that it has are not run again.")
    ] = OUT,
    retry: Annotated[bool, typer.Option("--retry", help="Run those again that failed.")] = False,
) -> None:
    """Run cases, and keep a record of each: one line of JSON with all that it takes to repeat it.

    Every party is a process of its own; they are connected over encrypted TCP. Outputs are compared with
    float64, measured bills with counted ones. Interrupted, by Ctrl-C or worse, the same command goes on with
    the case that it was at.

    Exits with 1 where a bill is not as counted, with 130 after Ctrl-C.
    """
    from mpcinfer.benchmark.cases import select
    from mpcinfer.cli.benchmarking import Options, list_cases, run_cases

    cases = select(names or (["*"] if listing else []), tokens or (), plans or ())
    if listing:
        list_cases(cases)
        return
    if not cases:
        raise typer.BadParameter("name cases, or see them: mpcinfer bench --list")
    options = Options(
        how=how.value,
        networks=tuple(networks or ()),
        bandwidth=bandwidth,
        latency=latency,
        repeat=repeat,
        out=out,
        retry=retry,
        dry_run=dry_run,
    )
    raise typer.Exit(run_cases(cases, options))


@bench.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(help="Records.")],
    after: Annotated[Path, typer.Argument(help="Records to compare with them.")],
) -> None:
    """Say what changed between two files of records.

    Counts are compared exactly. Times are medians with their least and greatest; whether a difference means
    anything is for whoever knows both machines. Exits with 1 where a count grew.

    [bold]Example[/bold]

        mpcinfer bench compare bench/counts.jsonl counted.jsonl
    """
    from rich.console import Console

    from mpcinfer.benchmark import compare as comparing
    from mpcinfer.benchmark.record import read_records

    changes = comparing.compare(read_records([before]), read_records([after]))
    console = Console(highlight=False)
    for line in comparing.described(changes):
        console.print(line, markup=False, soft_wrap=True)
    console.print(comparing.summary(changes), style="bold")
    raise typer.Exit(1 if any(change.grew for change in changes) else 0)
