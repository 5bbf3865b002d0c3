"""`mpcinfer plan`: chooses the protocols for a model and a network."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parties.errors import ConfigError

if TYPE_CHECKING:
    from mpcinfer.benchmark.network import Network
    from mpcinfer.benchmark.planner import Chosen, Predicted, Task
    from mpcinfer.benchmark.rates import Rates


class Objective(StrEnum):
    """What a plan is to be good at."""

    SECONDS = "seconds"
    BYTES = "bytes"
    OFFLINE = "offline"


def plan(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    network: Annotated[
        str, typer.Option(help="Between all parties: loopback, lan-10g, lan-1g, wan-400m or wan-100m.")
    ] = "wan-100m",
    bandwidth: Annotated[
        str | None, typer.Option(help="With --latency, another network: 200Mbit, each direction.")
    ] = None,
    latency: Annotated[str | None, typer.Option(help="Of that network, one way: 20ms.")] = None,
    objective: Annotated[
        Objective,
        typer.Option(
            help="What to make small: online seconds, online bytes both ways, or the bytes that are dealt "
            "and sent before the input is known."
        ),
    ] = Objective.SECONDS,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 32,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the answer.")] = 16,
    max_error: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Only protocols whose stated error, as `mpcinfer list protocols` shows it, is not above "
            "this; relative errors count as they stand, errors in units of the last place do not count.",
        ),
    ] = None,
    allow_disclosures: Annotated[
        bool,
        typer.Option(
            "--allow-disclosures",
            help="Also protocols that give away more than the default plan does, such as embedding=public.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="The plan file to write, for --plan FILE.")] = Path("plan.json"),
    measure_on: Annotated[
        str, typer.Option(help="The model on which this machine's speed is measured, once; it has weights.")
    ] = "tiny-python",
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="Do not take what was measured before.")
    ] = False,
    rates: Annotated[
        Path | None, typer.Option(help="Measured speed from a file, instead of this machine's.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The choice and all it was made from, as JSON.")
    ] = False,
) -> None:
    """Choose a protocol for every operation, for a model, a network and an objective.

    Rounds and bytes of each candidate are counted, its seconds predicted: computing from this machine's
    measured speed, latency and bandwidth from the network. The choice is never worse than a plan of
    `mpcinfer list plans` that has a dealer, as far as the prediction goes, and gives away no more than the
    default plan. Both parties take the file with --plan; the handshake compares its digest.

    [bold]Examples[/bold]

        mpcinfer plan tiny-python --network wan-100m --objective seconds
        mpcinfer plan gpt2 --network lan-1g --tokens 128 --objective bytes --max-error 0.01 --out gpt2.json
        mpcinfer generate "for i in" --local private --plan plan.json
    """
    from mpcinfer.benchmark.planner import Task, choose
    from mpcinfer.cli.progress import announce
    from mpcinfer.models.load import load_config, load_ranges_of
    from mpcinfer.plans import SUFFIX

    if out.suffix != SUFFIX:  # before anything is measured
        raise ConfigError(f"a plan file's name ends in {SUFFIX}, so that --plan knows it; not {out.name!r}")
    task = Task(
        config=load_config(model),
        ranges=load_ranges_of(model),
        tokens=tokens,
        new_tokens=new_tokens,
        network=_network(network, bandwidth, latency),
        objective=objective.value,
        max_error=max_error,
        disclosing=allow_disclosures,
    )
    speed = _rates(rates, measure_on, measure_again)
    if speed.model != model and objective is Objective.SECONDS:
        announce(f"computing is predicted from what {speed.model} took: for {model} it is an extrapolation")
    chosen = choose(task, speed, announce)
    _write(out, model, task, chosen, speed)
    if as_json:
        typer.echo(json.dumps(document(model, task, chosen), indent=2))
    else:
        from mpcinfer.cli.plan_tables import print_choice

        print_choice(model, task, chosen, out)


def _network(name: str, bandwidth: str | None, latency: str | None) -> Network:
    from mpcinfer.benchmark.network import custom_network, network_named

    if bandwidth is None and latency is None:
        return network_named(name)
    if bandwidth is None or latency is None:
        raise ConfigError("a network of your own has both: --bandwidth 200Mbit --latency 20ms")
    return custom_network(bandwidth, latency)


def _rates(path: Path | None, measure_on: str, again: bool) -> Rates:
    from mpcinfer.benchmark.measuring import measured_rates
    from mpcinfer.benchmark.rates import Rates
    from mpcinfer.cli.progress import announce

    return measured_rates(measure_on, announce, again=again) if path is None else Rates.read(path)


def _write(out: Path, model: str, task: Task, chosen: Chosen, rates: Rates) -> None:
    from mpcinfer.plans import write_plan

    made_for = {
        "model": model,
        "tokens": task.tokens,
        "new_tokens": task.new_tokens,
        "network": task.network.name,
        "objective": task.objective,
        "max_error": task.max_error,
    }
    write_plan(
        out, chosen.best.plan, made_for=made_for, predicted=numbers(chosen.best), rates=rates.to_json()
    )


def numbers(predicted: Predicted) -> dict[str, Any]:
    """What a plan takes, as plain values."""
    return {
        "plan": predicted.plan.name,
        "digest": predicted.plan.digest(),
        "seconds": predicted.seconds,
        "prompt_seconds": predicted.prompt.seconds,
        "token_seconds": predicted.single.seconds,
        "rounds": predicted.rounds,
        "online_bytes": predicted.online,
        "offline_bytes": predicted.offline,
    }


def document(model: str, task: Task, chosen: Chosen) -> dict[str, Any]:
    """The choice, its alternatives and what was left out, as plain values."""
    return {
        "model": model,
        "network": task.network.name,
        "objective": task.objective,
        "plan": chosen.best.plan.to_json(),
        "predicted": numbers(chosen.best),
        "others": {
            operation: [
                {"protocol": other.protocol, "why_not": other.why_not}
                | ({} if other.predicted is None else {"predicted": numbers(other.predicted)})
                for other in others
            ]
            for operation, others in chosen.others.items()
        },
        "presets": [numbers(each) for each in chosen.presets],
        "left_out": dict(chosen.left_out),
    }
