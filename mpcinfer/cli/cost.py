"""`mpcinfer cost`: the bill of a run that never happens."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from mpcinfer.cli import cache_options, options
from mpcinfer.cli.counted import counted
from mpcinfer.cli.state_table import print_token_costs, token_costs
from mpcinfer.cli.tables import print_bill
from mpcinfer.models.batch import MOST_PROMPTS
from mpcinfer.plans import named_plan
from parties.bill import Bill
from protocols.plan import DEFAULT_PLAN


class Part(StrEnum):
    """Which part of a model to bill."""

    ALL = "all"
    STACK = "stack"
    EMBEDDING = "embedding"
    HEAD = "head"


def cost(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the prompt, in one forward pass.")] = 128,
    new_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens to generate; each after the first is one more short pass.")
    ] = 1,
    speculate: Annotated[
        int, typer.Option(min=0, metavar="N", help="Drafts that every pass checks, all of them right; or")
    ] = 0,
    accepted: Annotated[
        int | None, typer.Option(min=0, metavar="A", help="so many of them in every pass.")
    ] = None,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    cache: cache_options.Cache = cache_options.CacheKind.KV,
    chunk: cache_options.Chunk = None,
    part: Annotated[Part, typer.Option(help="Bill one part only; `stack` is the blocks.")] = Part.ALL,
    max_context: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of the session; rings of suite fss depend on it. These alone."),
    ] = None,
    check_ranges: options.CheckRanges = False,
    batch: Annotated[
        int, typer.Option(min=1, max=MOST_PROMPTS, help="Prompts that every pass runs; --tokens of each.")
    ] = 1,
    equal_lengths: options.EqualLengths = False,
    pad: Annotated[
        bool, typer.Option("--pad", help="A single prompt is padded to --tokens (`generate --buckets`).")
    ] = False,
    public_prefix_tokens: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="M",
            help="Tokens before the prompt that both parties know, and the server runs in the clear.",
        ),
    ] = 0,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="FEATURES", help="With a prefix adapter of these features: square, pairs."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also by layer.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="Also label by label.")] = False,
    depth: Annotated[
        bool,
        typer.Option(
            "--depth", help="Levels and operations of a homomorphic evaluation instead (plan poly)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole bill as JSON.")] = False,
) -> None:
    """Bill a private run without running it.

    Rounds and bytes are exact: they depend on shapes alone, and tests hold them equal to what real runs
    measure. No weights are needed, and a 7B model takes a second or two.

    [bold]Examples[/bold]

        mpcinfer cost gpt2 --tokens 128 --part stack
        mpcinfer cost llama2-7b --tokens 512 --json
        mpcinfer cost tiny-python --tokens 12 --new-tokens 24 --layers
        mpcinfer cost tiny-python --tokens 12 --new-tokens 24 --speculate 4 --accepted 2
        mpcinfer cost tiny-python --tokens 12 --new-tokens 24 --batch 8
        mpcinfer cost gpt2 --tokens 16 --new-tokens 8 --public-prefix-tokens 512
        mpcinfer cost gpt2 --tokens 128 --prefix square
        mpcinfer cost gpt2-poly --plan poly --depth
        mpcinfer cost gpt2-power2 --tokens 256 --new-tokens 64 --cache state --chunk 64
    """
    choices = cache_options.with_cache(choices, cache, chunk)
    if depth:
        from mpcinfer.cli.depth import print_depth

        print_depth(model, tokens=tokens, plan=plan, choices=choices, part=part.value, as_json=as_json)
        return
    settings: dict[str, Any] = {
        "plan": plan,
        "choices": choices,
        "tokens": tokens,
        "new_tokens": new_tokens,
        "speculate": speculate,
        "accepted": accepted,
        "part": part.value,
        "max_context": max_context,
        "check_ranges": check_ranges,
        "batch": batch,
        "equal_lengths": equal_lengths,
        "pad": pad,
        "public_prefix_tokens": public_prefix_tokens,
        "prefix": prefix,
    }
    which = named_plan(plan).digest()  # of a file: its name stays and what is in it may change
    answer = counted(["cost", which, *settings.items()], model, lambda: _count(model, settings))
    bill = Bill.from_json(answer["bill"])
    if as_json:
        typer.echo(json.dumps(bill.to_json(), indent=2))
        return
    console = Console()
    several = f"{batch} prompts of " if batch > 1 else ""
    after = f" after {public_prefix_tokens} public ones" if public_prefix_tokens else ""
    console.print(
        f"{model}, {several}{tokens} tokens{after}, plan {plan}, part {part.value}: counted, not run",
        style="bold",
    )
    print_bill(console, bill, layers=layers, labels=labels)
    if answer["tokens"] is not None:
        print_token_costs(console, answer["tokens"])
    for disclosure in answer["disclosures"]:
        console.print(f"note: {disclosure}", style="yellow", markup=False)


def _count(model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The bill, what the plan discloses, and what tokens cost over a state."""
    from mpcinfer.costs import cost as count
    from mpcinfer.plans import plan_from
    from mpcinfer.suites.registry import disclosures

    plan = plan_from(settings["plan"], settings["choices"])
    return {
        "bill": count(model, **settings).to_json(),
        "disclosures": list(disclosures(plan)),
        "tokens": token_costs(model, plan, settings["max_context"]) if plan.chunk else None,
    }
