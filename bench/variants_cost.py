"""The tables of docs/variants.md that are counted: what each architecture costs at GPT-2's size.

`python -m bench.tables` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bench.attention import KINDS, LENGTHS, attention_bill, attention_row, attention_rows
from bench.attention import PLANS as ATTENTION_PLANS
from bench.block import DEFAULT_VARIANT, described
from bench.markdown import megabytes, table
from bench.records import latest
from mpcinfer import cost
from mpcinfer.models.operations import attention_flops, ffn_flops, nonlinear_operations
from mpcinfer.models.zoo import zoo
from parties.bill import Bill, BillRow
from parties.errors import ConfigError

COMPARED = {
    "SM+LN+G": "gpt2-sm-ln-gelu",
    "SM+LN+R": "gpt2-sm-ln-relu",
    "SM+ScFuFFN": "gpt2-sm-scfuffn",
    "SM+ScFuFFN, folded": "gpt2-sm-scfuffn-folded",
    "power4": "gpt2-power4",
    "power4+SM+ScFuFFN, folded": "gpt2-power4-sm-scfuffn-folded",
}
"""The main ones, side by side at every length."""
REST = {
    "SM+LN": "gpt2-sm-ln",
    "SM+G": "gpt2-sm-gelu",
    "SM+R": "gpt2-sm-relu",
    "SM; SM+WNorm, SM+SNorm, SM+ScFFN": "gpt2-sm-scffn",
    "SM+ScFuFFN_i6": "gpt2-sm-scfuffn-i6",
    "SM(t)+ScFuFFN; EReg(SM(t)+ScFuFFN)": "gpt2-ereg-sm-t-scfuffn",
    "power2": "gpt2-power2",
    "power8": "gpt2-power8",
    "2quad": "gpt2-2quad",
    "relu": "gpt2-relu-attention",
}
MEASURED = {"softmax": DEFAULT_VARIANT, "power4": "power4"}
"""Variants of which `python -m bench.stack --layers 1` ran a block."""
PLANS = ("fss", "fss-faithful", "crypten")
PUBLISHED = {
    128: {"SM+LN+G": 25.32, "SM+LN+R": 9.44, "SM+ScFuFFN": 6.43},
    256: {"SM+LN+G": 58.51, "SM+LN+R": 26.73, "SM+ScFuFFN": 20.72},
    512: {"SM+LN+G": 145.24, "SM+LN+R": 81.71, "SM+ScFuFFN": 69.68},
}
"""GB of a whole forward pass without a dealer: tables 3, 4 and 8 of arXiv 2501.03489."""


def bills_table(tokens: int) -> str:
    """The main variants under the plans, beside what was published."""
    header = ["blocks"]
    for plan in PLANS:
        header += [f"`{plan}`: rounds", "online"]
    rows: list[list[str]] = []
    for name, model in COMPARED.items():
        cells = [cell for plan in PLANS for cell in _rounds_and_online(model, plan, tokens)]
        published = PUBLISHED[tokens].get(name)
        rows.append([name, *cells, "" if published is None else f"{published:.2f} GB"])
    return table([*header, "published, end to end"], rows)


def all_table(plan: str) -> str:
    """Every variant under one plan, at 128 tokens."""
    rows: list[list[str]] = []
    for name, model in {**COMPARED, **REST}.items():
        total = _total(model, plan, 128)
        if total is None:
            rows.append([name, "none", "", "", ""])
            continue
        offline = total.offline_bytes_to_server + total.offline_bytes_to_client
        online = _online(total)
        rows.append([name, f"{total.rounds:,}", online, megabytes(offline), megabytes(total.setup_bytes)])
    return table(["blocks", "rounds", "online, both ways", "offline", "setup, once"], rows)


def operations_table() -> str:
    """What they compute on 128 tokens, as the papers count it."""
    rows: list[list[str]] = []
    for name, model in {**COMPARED, **REST}.items():
        config = zoo()[model].config
        found = nonlinear_operations(config, 128, final_norm=False)
        counts = ", ".join(f"{each.calls} {each.kind} of {each.rows} x {each.columns}" for each in found)
        flops = (f"{count(config, 128) / 1e9:.1f}" for count in (ffn_flops, attention_flops))
        rows.append([name, counts, *flops, f"{config.parameters / 1e6:.0f} M"])
    header = ["variant", "nonlinearities", "FFN, GFLOP", "attention, GFLOP", "parameters"]
    return table(header, rows, left=("nonlinearities",))


def attention_table(tokens: int) -> str:
    """What attention's own part of a block costs, a head."""
    header = ["attention"]
    for plan in ATTENTION_PLANS:
        header += [f"`{plan}`: rounds", "online", "offline"]
    rows = [
        attention_row(kind, [attention_bill(kind, plan, tokens) for plan in ATTENTION_PLANS])
        for kind in KINDS
    ]
    return table(header, rows)


def measured_attention_table() -> str:
    """The same of single runs under `fss`, and whether that is what is counted."""
    rows: list[list[str]] = []
    for tokens in LENGTHS:
        for kind, name in MEASURED.items():
            record = latest("stack.jsonl", "fss", "gpt2-block", tokens=tokens, model=described(1, name))
            if record is None:
                continue
            measured, counted = (
                attention_rows(Bill.from_json(record["bill"], older=True)),
                attention_bill(kind, "fss", tokens),
            )
            cells = attention_row(kind, [measured])
            same = cells == attention_row(kind, [counted])
            seconds = f"{min(record['seconds']):.2f} s"
            rows.append([f"{tokens:,}", *cells, "yes" if same else "no", seconds])
    header = ["tokens", "attention", "rounds", "online", "offline", "as counted", "the whole block"]
    return table(header, rows, left=("attention", "as counted"))


def _rounds_and_online(model: str, plan: str, tokens: int) -> Sequence[str]:
    total = _total(model, plan, tokens)
    return ("none", "") if total is None else (f"{total.rounds:,}", _online(total))


def _online(total: BillRow) -> str:
    return megabytes(total.online_bytes_to_server + total.online_bytes_to_client)


def _total(model: str, plan: str, tokens: int) -> BillRow | None:
    """The blocks' bill; None where the plan has no protocol for the attention."""
    try:
        return cost(model, plan=plan, tokens=tokens, part="stack").total
    except ConfigError:
        if zoo()[model].config.attention == "softmax":
            raise
        return None


TABLES: dict[str, Callable[[], str]] = {
    "bills 128": lambda: bills_table(128),
    "bills 256": lambda: bills_table(256),
    "bills 512": lambda: bills_table(512),
    "all fss": lambda: all_table("fss"),
    "all crypten": lambda: all_table("crypten"),
    "operations": operations_table,
    "attention measured": measured_attention_table,
    **{f"attention {tokens}": partial(attention_table, tokens) for tokens in LENGTHS},
}
