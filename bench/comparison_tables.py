"""The tables of docs/comparison.md: what every main variant costs under every plan, and why.

`python -m bench.tables` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.comparison import FOLDED, LENGTHS, PLANS, SMALL, VARIANTS, counted, quality
from bench.markdown import megabytes, table
from bench.variants_cost import PUBLISHED
from bench.variants_runs import BASE
from parties.bill import Bill, BillRow
from parties.errors import ConfigError

GROUPS = {
    "attention weights": ("softmax", "power"),
    "activation": ("gelu_tanh", "relu"),
    "norms": ("layernorm",),
}
"""Nonlinearities, by the kinds of a bill."""
CHANGES = {
    "GELU to ReLU": ("SM+LN+G", "SM+LN+R"),
    "ReLU and norms away, FFN to one matrix": ("SM+LN+R", "SM+ScFuFFN"),
    "both": ("SM+LN+G", "SM+ScFuFFN"),
    "that matrix folded away": ("EReg(SM(t)+ScFuFFN)", f"EReg(SM(t)+ScFuFFN){FOLDED}"),
    "softmax to power4": ("SM+LN+G", "power4"),
}
"""What a change of architecture takes away: from a variant to another."""


def totals_table(tokens: int) -> str:
    """Rounds and bytes of all plans side by side."""
    header = ["blocks", "perplexity, small"]
    for plan in PLANS:
        header += [f"`{plan}`: rounds", "online"]
    rows = [
        [name, _perplexity(name), *(cell for plan in PLANS for cell in _total(counted(name, plan, tokens)))]
        for name in VARIANTS
    ]
    return table(header, rows)


def nonlinearities_table(plan: str) -> str:
    """Rounds and online bytes a nonlinearity, at 128 tokens."""
    header = ["blocks"]
    for group in (*GROUPS, "the rest", "all"):
        header += [f"{group}: rounds", "online"]
    rows: list[list[str]] = []
    for name in VARIANTS:
        bill = _known(name, plan)
        parts = [_of(bill, kinds) for kinds in GROUPS.values()]
        known = [kind for kinds in GROUPS.values() for kind in kinds]
        parts.append(_of(bill, [row.kind for row in bill.by_kind() if row.kind not in known]))
        cells = [
            cell for part in (*parts, (bill.total.rounds, _online(bill.total))) for cell in _cells(*part)
        ]
        rows.append([name, *cells])
    return table(header, rows)


def small_table() -> str:
    """The trained models' perplexity beside their own cost."""
    header = ["blocks", "perplexity"]
    for plan in PLANS:
        header += [f"`{plan}`: rounds", "online"]
    rows = [
        [
            name,
            _perplexity(name),
            *(cell for plan in PLANS for cell in _total(counted(name, plan, BASE.context, SMALL))),
        ]
        for name in VARIANTS
    ]
    return table(header, rows)


def savings_table() -> str:
    """What a change leaves of the bytes, under each plan and in the papers."""
    header = ["change"]
    for plan in PLANS:
        header += [f"`{plan}`: online", "with offline"]
    rows = [
        [change, *(f"{_left(change, plan, cost):.0%}" for plan in PLANS for cost in (_online, _bytes))]
        for change in CHANGES
    ]
    for row in rows:
        published = _published_left(row[0])
        row.append("" if published is None else f"{published:.0%}")
    return table([*header, "published, all bytes"], rows)


def rounds_table() -> str:
    """The same of rounds."""
    rows = [
        [change, *(f"{_left(change, plan, lambda row: row.rounds):.0%}" for plan in PLANS)]
        for change in CHANGES
    ]
    return table(["change", *(f"`{plan}`" for plan in PLANS)], rows)


def finding() -> str:
    """The sentences that these tables support, with their numbers."""
    gelu, bare = list(CHANGES)[:2]
    stated = ", ".join(f"{_left(gelu, plan, _online):.0%} under `{plan}`" for plan in PLANS)
    least, most = (pick(_left(bare, plan, _online) for plan in PLANS) for pick in (min, max))
    whole = PUBLISHED[128]
    return (
        f"**Which savings are the architecture's, which a protocol's.** GELU to ReLU leaves "
        f"{_published_left(gelu):.0%} of the\npublished bytes ({whole['SM+LN+G']} to {whole['SM+LN+R']} GB, "
        f"arXiv 2501.03489), but {stated} online;\nwith what is sent offline, `fss` needs "
        f"{_left(gelu, 'fss', _bytes):.0%}. That saving is a property of protocols in which a GELU is many "
        "comparisons\nand products; where both are one look-up, there is little. Norms and activations away "
        f"leaves {least:.0%} to {most:.0%} online under these\nplans, {_published_left(bare):.0%} of the "
        "published: that one is the architecture's."
    )


def _left(change: str, plan: str, cost: Callable[[BillRow], int]) -> float:
    before, after = CHANGES[change]
    return cost(_known(after, plan).total) / cost(_known(before, plan).total)


def _published_left(change: str) -> float | None:
    before, after = (PUBLISHED[128].get(name) for name in CHANGES[change])
    return after / before if before and after else None


def activation_table() -> str:
    """A GELU and a ReLU of the same size under each plan."""
    rows: list[list[str]] = []
    for plan in PLANS:
        pair = (("SM+LN+G", "gelu_tanh"), ("SM+LN+R", "relu"))
        gelu, relu = (_of(_known(name, plan), [kind]) for name, kind in pair)
        offline = [_offline(_known(name, plan), kind) for name, kind in pair]
        rows.append(
            [f"`{plan}`", *_cells(*gelu), megabytes(offline[0]), *_cells(*relu), megabytes(offline[1])]
        )
        rows[-1].append(f"{gelu[1] / relu[1]:.1f}")
    header = ["plan", "GELU: rounds", "online", "offline", "ReLU: rounds", "online", "offline"]
    return table([*header, "GELU over ReLU, online"], rows)


def short_table() -> str:
    """The README's: two plans, at 128 tokens."""
    header = ["blocks", "perplexity, small"]
    plans = ("fss", "crypten-stock")
    for plan in plans:
        header += [f"`{plan}`: rounds", "online"]
    rows = [
        [name, _perplexity(name), *(cell for plan in plans for cell in _total(counted(name, plan, 128)))]
        for name in VARIANTS
    ]
    return table(header, rows)


def _perplexity(name: str) -> str:
    found = quality(name)
    if not found:
        return ""
    spread = f" ± {found['perplexity_deviation']:.1f}" if "perplexity_deviation" in found else ""
    return f"{found['perplexity']:.1f}{spread}"


def _known(name: str, plan: str) -> Bill:
    bill = counted(name, plan, 128)
    if bill is None:
        raise ConfigError(f"plan {plan} cannot run {name}")
    return bill


def _total(bill: Bill | None) -> list[str]:
    return ["none", ""] if bill is None else _cells(bill.total.rounds, _online(bill.total))


def _of(bill: Bill, kinds: tuple[str, ...] | list[str]) -> tuple[int, int]:
    """Rounds and online bytes of some kinds."""
    found = [row for row in bill.by_kind() if row.kind in kinds]
    return sum(row.rounds for row in found), sum(map(_online, found))


def _offline(bill: Bill, kind: str) -> int:
    found = [row for row in bill.by_kind() if row.kind == kind]
    return sum(row.offline_bytes_to_server + row.offline_bytes_to_client for row in found)


def _online(row: BillRow) -> int:
    return row.online_bytes_to_server + row.online_bytes_to_client


def _bytes(row: BillRow) -> int:
    return _online(row) + row.offline_bytes_to_server + row.offline_bytes_to_client


def _cells(rounds: int, online: int) -> list[str]:
    return [f"{rounds:,}", megabytes(online)] if rounds or online else ["", ""]


TABLES: dict[str, Callable[[], str]] = {
    **{f"comparison {tokens}": partial(totals_table, tokens) for tokens in LENGTHS},
    **{f"nonlinearities {plan}": partial(nonlinearities_table, plan) for plan in PLANS},
    "comparison small": small_table,
    "savings": savings_table,
    "savings in rounds": rounds_table,
    "finding": finding,
    "activations": activation_table,
}
