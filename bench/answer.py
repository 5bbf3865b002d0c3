"""A whole private answer over three processes: seconds and bytes a token.

    python -m bench.answer --model tiny-python --tokens 16 --repeat 3

Appends a record to bench/records/answer.jsonl. Seconds a token are the client's wall time between tokens,
the prompt's own pass left out.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

from rich.console import Console

from bench.records import RECORDS, Record
from mpcinfer import ClearModel, load_model, private
from parties.bill import Bill

PROMPT = "def read_lines(path):\n    with open("


def measure(model: str, plan: str, tokens: int) -> tuple[Bill, float, float, tuple[int, ...]]:
    """The bill, seconds for the first token, median seconds for each later one, and the token ids."""
    with private(model, plan=plan) as client:
        times = [time.perf_counter()]
        answer = client.complete(
            PROMPT, max_new_tokens=tokens, on_text=lambda text: times.append(time.perf_counter())
        )
        bill = client.finish()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return bill, gaps[0], statistics.median(gaps[1:]), answer.ids


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens, at least 2")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    runs = [measure(options.model, options.plan, options.tokens) for _ in range(options.repeat)]
    model = load_model(options.model)
    reference = ClearModel(model, fixed_point=True, plan=options.plan).complete(
        PROMPT, max_new_tokens=options.tokens
    )
    bill, seconds = runs[0][0], [run[2] for run in runs]
    total, made = bill.total, len(runs[0][3])
    equal = sum(run[3] == reference.ids for run in runs)
    Console().print(
        f"{options.model}, {options.plan}: {statistics.median(seconds):.2f} s a token (first "
        f"{statistics.median(run[1] for run in runs):.2f} s), {total.rounds / made:.0f} rounds and "
        f"{(total.online_bytes_to_server + total.online_bytes_to_client) / made / 1e6:.2f} MB a token; "
        f"same tokens as in the clear in {equal} of {options.repeat} runs"
    )
    Record(
        case="answer",
        plan=options.plan,
        model=options.model,
        tokens=made,
        measured=True,
        bill=bill.to_json(),
        seconds=seconds,
        network="loopback TCP with CURVE, three processes",
    ).append(RECORDS / "answer.jsonl")


if __name__ == "__main__":
    main()
