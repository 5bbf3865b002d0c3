"""Several prompts in one session next to the same prompts one by one: seconds a prompt, rounds, bytes.

    python -m bench.batches --plan fss --networks loopback wan-400m
    python -m bench.batches --plan crypten --networks loopback

Three processes on this machine; networks are shaped channels (docs/networks.md). One by one
is one session of one answer after the other. Seconds are those of all answers, from the first prompt's pass
to the last token, dealing and every wait included, over the number of prompts; set-up comes once in either
session and is not part of them. Appends a record of each network to bench/records/batches.jsonl.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer import Answer, PrivateClient, private
from mpcinfer.benchmark.network import LOOPBACK, network_named
from parties.bill import Bill

FILE = "batches.jsonl"
PROMPTS = (
    "for i in",
    "def area(self):",
    "x = [1, 2, 3]\ny = [1, 2, 3]\nz = [1, 2",
    "import os",
    "class Point:",
    "def read_lines(path):\n    with open(",
    "if x is None:",
    "return a + b",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers of one session.

    Attributes:
        seconds: of all of them together.
    """

    answers: list[Answer]
    bill: Bill
    seconds: float


def measure(
    model: str, plan: str, network: str, batch: int, ask: Callable[[PrivateClient], list[Answer]]
) -> Measured:
    """A session: its answers, once the weights are there."""
    shape = None if network == LOOPBACK.name else network_named(network).shape
    with private(model, plan=plan, timeout_s=600.0, batch=batch, shape=shape) as client:
        started = time.perf_counter()
        answers = ask(client)
        seconds = time.perf_counter() - started
        return Measured(answers, client.finish(), seconds)


def compare(model: str, plan: str, network: str, tokens: int, prompts: Sequence[str]) -> None:
    """Both ways over one network; says what was measured, and appends a record."""

    def one_by_one(client: PrivateClient) -> list[Answer]:
        return [client.complete(prompt, max_new_tokens=tokens) for prompt in prompts]

    def together(client: PrivateClient) -> list[Answer]:
        return client.complete_batch(prompts, max_new_tokens=tokens)

    alone = measure(model, plan, network, 1, one_by_one)
    several = measure(model, plan, network, len(prompts), together)
    same = sum(a.ids == b.ids for a, b in zip(alone.answers, several.answers, strict=True))
    extra = {
        "prompts": len(prompts),
        "one_by_one_s": alone.seconds,
        "together_s": several.seconds,
        "one_by_one_bill": _without_labels(alone.bill),
        "same": same,
        "texts": [answer.text for answer in several.answers],
    }
    print(
        f"{model} {plan} {network}: {len(prompts)} prompts, {alone.seconds / len(prompts):.2f} s a prompt "
        f"one by one, {several.seconds / len(prompts):.2f} s together, "
        f"{alone.seconds / several.seconds:.2f} x; {alone.bill.total.rounds:,} rounds, "
        f"{several.bill.total.rounds:,} together; {same} the same",
        flush=True,
    )
    Record(
        case="batch",
        plan=plan,
        model=model,
        tokens=tokens,
        measured=True,
        bill=_without_labels(several.bill),
        seconds=[several.seconds / len(prompts)],
        network=network,
        extra=extra,
    ).append(RECORDS / FILE)


def _without_labels(bill: Bill) -> dict[str, Any]:
    return {key: value for key, value in bill.to_json().items() if key != "labels"}


def batches_table() -> str:
    """The newest record of each model, plan and network."""
    newest: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in (RECORDS / FILE).read_text().splitlines():
        record = json.loads(line)
        newest[record["model"], record["plan"], record["network"]] = record
    rows: list[list[str]] = []
    for (model, plan, network), record in newest.items():
        extra, bill = record["extra"], record["bill"]
        before, count = extra["one_by_one_bill"], extra["prompts"]
        rows.append(
            [
                f"{count} of `{model}`",
                f"`{plan}`",
                network,
                f"{before['rounds']:,}",
                f"{bill['rounds']:,}",
                megabytes(_online(before) / count),
                megabytes(_online(bill) / count),
                f"{extra['one_by_one_s'] / count:.2f} s",
                f"{extra['together_s'] / count:.2f} s",
                f"{extra['one_by_one_s'] / extra['together_s']:.1f}",
                f"{extra['same']} of {count}",
            ]
        )
    header = [
        "prompts",
        "plan",
        "network",
        "rounds, one by one",
        "together",
        "online a prompt",
        "together",
        "a prompt, one by one",
        "together",
        "factor",
        "same answer",
    ]
    return table(header, rows)


def _online(bill: dict[str, Any]) -> int:
    return bill["online_bytes_to_server"] + bill["online_bytes_to_client"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens")
    parser.add_argument("--networks", nargs="+", default=["loopback", "wan-400m"])
    options = parser.parse_args()
    torch.set_num_threads(1)  # the client's idle threads would take the server's cores
    for network in options.networks:
        compare(options.model, options.plan, network, options.tokens, PROMPTS)


if __name__ == "__main__":
    main()
