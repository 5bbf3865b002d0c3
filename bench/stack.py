"""Blocks of GPT-2's size under the FSS suite: dealing, offline step and online run, in separate processes.

    python -m bench.stack --layers 12 --repeat 3
    python -m bench.stack --layers 1 --against crypten-stock --repeat 3
    python -m bench.stack --layers 1 --variant power4 --tokens 512

Weights are random, widths those of the default profile. The dealer writes its correlations to a folder, as
`mpcinfer deal` does, and ends; then server and client, connected over encrypted loopback TCP, do their
offline step and run. Output and bill are compared with the float model and with the count. With --against,
each repetition also runs one block under another plan (`bench.block`), measured in the same minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

from rich.console import Console

from bench.attention import EPSILON, attention_rows
from bench.block import DEFAULT_VARIANT, GPT2_BLOCK, described, measure
from bench.records import RECORDS, Record
from bench.stack_parties import Measured, centred, measure_stack
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.variants import variant
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.task import random_weights, residual
from parties.bill import Bill, BillRow

_COMPARED = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
)


def _blocks_only(bill: Bill) -> Bill:
    """Without what brings the input in."""
    left_out = ("input", "setup", "other")
    return Bill(rows=[row for row in bill.rows if row.label.split(".")[0] not in left_out])


def run_case(
    plan: str,
    name: str,
    layers: int,
    tokens: int,
    repeat: int,
    port: int,
    against: str | None,
    console: Console,
) -> None:
    """Measures, prints, and keeps a record."""
    # A block costs the same whatever context its model was made for.
    context = max(GPT2_BLOCK.context, tokens + 1)
    block = dataclasses.replace(GPT2_BLOCK, layers=layers, attention_epsilon=EPSILON, context=context)
    config = variant(name, block)
    runs: list[Measured] = []
    others: list[tuple[Bill, float]] = []
    for i in range(repeat):
        runs.append(measure_stack(plan, config, tokens, port + 10 * i))
        if against:
            bill, seconds, _ = measure(against, GPT2_BLOCK, tokens, port + 10 * i + 1)
            others.append((bill, seconds))
    reference = Decoder(PlainBackend(), config, random_weights(config)).stack(residual(config, tokens))
    error = (runs[0].output - centred(reference)).abs()
    bill = _blocks_only(runs[0].bill)
    counted = count(config, get_plan(plan), tokens=tokens, part="stack")
    expected = Bill(rows=[row for row in counted.rows if row.label.startswith("layer")]).total
    same = all(getattr(bill.total, name) == getattr(expected, name) for name in _COMPARED)
    peaks = {name: max(run.peak_bytes[name] for run in runs) for name in ("dealer", "server", "client")}
    console.print(f"{plan}, {layers} block(s) of {name}, {tokens} tokens: {_costs(bill.total)}")
    console.print(f"attention without linear layers, a head of a layer: {_costs(_a_head(bill, config))}")
    console.print(f"medians of {repeat}: {_seconds(runs)}; peak memory {_gigabytes(peaks)}")
    console.print(
        f"largest error {float(error.max()):.2g}, mean {float(error.mean()):.2g}; "
        f"bill {'exactly as counted' if same else 'NOT as counted'}"
    )
    if against:
        console.print(_comparison(against, others, bill, statistics.median(run.online_s for run in runs)))
    Record(
        case="gpt2-stack" if layers > 1 else "gpt2-block",
        plan=plan,
        model=described(layers, name),
        tokens=tokens,
        measured=True,
        bill=bill.to_json(),
        seconds=[run.online_s for run in runs],
        error={"max": float(error.max()), "mean": float(error.mean())},
        network="loopback TCP with CURVE, two processes, dealt ahead to disk",
        extra={
            "dealer_s": [run.dealer_s for run in runs],
            "offline_s": [run.offline_s for run in runs],
            "peak_bytes": peaks,
            "against": {against: [s for _, s in others]} if against else {},
        },
    ).append(RECORDS / "stack.jsonl")


def _a_head(bill: Bill, config: ModelConfig) -> BillRow:
    """A head's share of what attention costs in a layer; rounds are those of all heads."""
    total = attention_rows(bill).total
    for name in _COMPARED[1:]:
        setattr(total, name, getattr(total, name) // (config.heads * config.layers))
    total.rounds //= config.layers
    return total


def _costs(total: BillRow) -> str:
    up, down = total.online_bytes_to_server / 1e6, total.online_bytes_to_client / 1e6
    offline = (total.offline_bytes_to_server + total.offline_bytes_to_client) / 1e9
    return (
        f"{total.rounds} rounds, {up:.2f} + {down:.2f} = {up + down:.2f} MB online, {offline:.3f} GB offline"
    )


def _seconds(runs: list[Measured]) -> str:
    dealer, offline, online = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("dealer_s", "offline_s", "online_s")
    )
    return f"dealer {dealer:.2f} s, offline step {offline:.2f} s, online {online:.2f} s"


def _gigabytes(peaks: dict[str, int]) -> str:
    return ", ".join(f"{name} {peak / 1e9:.2f} GB" for name, peak in peaks.items())


def _comparison(against: str, others: list[tuple[Bill, float]], bill: Bill, online_s: float) -> str:
    its, total, seconds = others[0][0].total, bill.total, statistics.median(s for _, s in others)
    bytes_of = [row.online_bytes_to_server + row.online_bytes_to_client for row in (its, total)]
    return (
        f"{against}, one block, same run: {its.rounds} rounds, {bytes_of[0] / 1e6:.1f} MB, {seconds:.2f} s: "
        f"{bytes_of[0] / bytes_of[1]:.0f} times the bytes, {seconds / online_s:.1f} times the seconds"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--variant", default=DEFAULT_VARIANT, help="see `mpcinfer models --variants`")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--against", help="another plan, of which one block runs between repetitions")
    parser.add_argument("--port", type=int, default=7600, help="first of the loopback ports to use")
    options = parser.parse_args()
    run_case(
        options.plan,
        options.variant,
        options.layers,
        options.tokens,
        options.repeat,
        options.port,
        options.against,
        Console(),
    )


if __name__ == "__main__":
    main()
