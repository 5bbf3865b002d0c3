"""What attention costs a head: softmax against powers of scores and ReLU, counted.

    python -m bench.attention

Everything between the linear layers of one block of GPT-2's size: scores, their function, and the product
with the values; under the plan `fss` also the message with queries, keys and values. Bytes are both ways,
divided by the number of heads; rounds are those of all heads together. Ranges are those of the default
profile: other calibrated ranges make other rings under `fss`, and may take other reciprocals under
`crypten`. Counted bills are what parties measure (tests/mpcinfer/test_fss_attention.py,
test_private_models.py).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from rich.console import Console

from bench.block import GPT2_BLOCK
from bench.markdown import table
from bench.records import RECORDS, Record
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill

PLANS = ("fss", "crypten")
LENGTHS = (128, 512, 1024)
KINDS = ("softmax", "power2", "power4", "power6", "power8", "2quad", "relu")
EPSILON = 0.1
"""Of power attention: what range training is done with."""
_LINEAR = ("qkv", "out")


def shape(kind: str) -> ModelConfig:
    """One block with a kind of attention."""
    base = dataclasses.replace(GPT2_BLOCK, layers=1, attention_epsilon=EPSILON)
    return base if kind == "softmax" else variant(kind, base)


def attention_bill(kind: str, plan: str, tokens: int) -> Bill:
    """The rows of a block's bill that are attention's own."""
    return attention_rows(count(shape(kind), get_plan(plan), tokens=tokens, part="stack"))


def attention_rows(bill: Bill) -> Bill:
    """What a bill has for attention, without its linear layers."""
    names = {row.label: row.label.split(".") for row in bill.rows}
    inside = [row for row in bill.rows if names[row.label][1:2] == ["attn"]]
    return Bill(rows=[row for row in inside if names[row.label][-1] not in _LINEAR])


def attention_row(kind: str, bills: Sequence[Bill]) -> list[str]:
    """Cells of a table: rounds, and bytes a head, under each plan."""
    cells = [kind]
    for bill in bills:
        total = bill.total
        online = total.online_bytes_to_server + total.online_bytes_to_client
        offline = total.offline_bytes_to_server + total.offline_bytes_to_client
        cells += [str(total.rounds), _size(online / GPT2_BLOCK.heads), _size(offline / GPT2_BLOCK.heads)]
    return cells


def _size(count_bytes: float) -> str:
    return f"{count_bytes / 1e6:,.2f} MB"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--no-record", action="store_true", help="print only")
    arguments = parser.parse_args()
    console = Console(width=200)
    for tokens in arguments.lengths:
        rows: list[list[str]] = []
        for kind in KINDS:
            bills = [attention_bill(kind, plan, tokens) for plan in PLANS]
            rows.append(attention_row(kind, bills))
            for plan, bill in zip(PLANS, bills, strict=True):
                if not arguments.no_record:
                    _record(kind, plan, tokens, bill)
        columns = [f"{plan} {what}" for plan in PLANS for what in ("rounds", "online", "offline")]
        console.print(f"\n{tokens} tokens, a head\n", markup=False)
        console.print(table(["attention", *columns], rows), markup=False)


def _record(kind: str, plan: str, tokens: int, bill: Bill) -> None:
    Record(
        case=f"attention-{kind}",
        plan=plan,
        model="gpt2, attention of 1 block without its linear layers, default profile",
        tokens=tokens,
        measured=False,
        bill=bill.to_json(),
        extra={"heads": GPT2_BLOCK.heads, "epsilon": EPSILON if shape(kind).attention == "power" else None},
    ).append(RECORDS / "attention.jsonl")


if __name__ == "__main__":
    main()
