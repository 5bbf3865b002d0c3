"""The tables of README.md and of the pages in docs, made from records and counted bills.

python -m bench.tables           writes them between their markers
python -m bench.tables --check   fails where what stands there is out of date
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.audits import TABLES as AUDIT_TABLES
from bench.batches import batches_table
from bench.block import described
from bench.comparison_measured import measured_table
from bench.comparison_tables import TABLES as COMPARISON_TABLES
from bench.comparison_tables import finding, short_table
from bench.costs import TABLES as COST_TABLES
from bench.markdown import megabytes, table, updated
from bench.networks import agreement_table, networks_table
from bench.optimizers import TABLES as OPTIMIZER_TABLES
from bench.peers.report import PEER_TABLES, PUBLISHED_TABLES
from bench.planned import planned_table
from bench.polynomial import TABLES as POLYNOMIAL_TABLES
from bench.prefixes import TABLES as PREFIX_TABLES
from bench.profile import profile_table
from bench.prompt_weights import TABLES as WEIGHT_TABLES
from bench.protected_data import TABLES as PROTECTED_TABLES
from bench.public_prefix import TABLES as PUBLIC_PREFIX_TABLES
from bench.records import latest
from bench.relatives import TABLES as RELATIVE_TABLES
from bench.scaling import TABLES as SCALING_TABLES
from bench.service_tables import TABLES as SERVICE_TABLES
from bench.sparse import TABLES as SPARSE_TABLES
from bench.speculate import speculation_table
from bench.streaming import TABLES as STREAMING_TABLES
from bench.two_party_variants import TABLES as TWO_PARTY_TABLES
from bench.variants_cost import TABLES as VARIANT_TABLES
from bench.variants_report import TABLES as TRAINED_TABLES
from mpcinfer import cost

ROOT = Path(__file__).parent.parent
PLANS = ("crypten-stock", "crypten", "fss")
STANDARD = {"model": described(1), "tokens": 128}
MEASURED = {"crypten-stock": "block.jsonl", "crypten": "block.jsonl", "fss": "stack.jsonl"}


def _latest(file: str, plan: str, case: str = "", **where: Any) -> dict[str, Any]:
    """As `latest`, of which there must be one."""
    record = latest(file, plan, case, **where)
    if record is None:
        sys.exit(f"no record of plan {plan} in {file}; run the benchmark first")
    return record


def block_table() -> str:
    """One GPT-2-size block, measured."""
    rows: list[list[str]] = []
    for plan in PLANS:
        record = _latest(MEASURED[plan], plan, "gpt2-block", **(STANDARD if plan == "fss" else {}))
        bill, error = record["bill"], record["error"]
        rows.append(
            [
                f"`{plan}`",
                str(bill["rounds"]),
                megabytes(bill["online_bytes_to_server"] + bill["online_bytes_to_client"]),
                megabytes(bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]),
                f"{statistics.median(record['seconds']):.2f} s",
                f"{error['max']:.1g}",
            ]
        )
    machine = _latest("stack.jsonl", "fss", "gpt2-block", **STANDARD)
    header = ["plan", "rounds", "online, both ways", "offline", "wall online", "largest error"]
    return (
        table(header, rows)
        + f"\n\nMedians of {len(machine['seconds'])}, loopback TCP with CURVE, {machine['machine']}."
    )


def stack_table() -> str:
    """All of GPT-2's blocks under the FSS suite, measured."""
    record = _latest("stack.jsonl", "fss", "gpt2-stack")
    bill, extra = record["bill"], record["extra"]
    peak = max(extra["peak_bytes"].values())
    row = [
        str(bill["rounds"]),
        megabytes(bill["online_bytes_to_server"] + bill["online_bytes_to_client"]),
        f"{(bill['offline_bytes_to_server'] + bill['offline_bytes_to_client']) / 1e9:.2f} GB",
        f"{statistics.median(record['seconds']):.1f} s",
        f"{statistics.median(extra['dealer_s']):.1f} s",
        f"{statistics.median(extra['offline_s']):.1f} s",
        f"{peak / 1e9:.1f} GB",
    ]
    header = ["rounds", "online, both ways", "offline", "online", "dealer", "parties, offline", "peak memory"]
    return table(header, [row])


def counted_table() -> str:
    """Whole models, counted."""
    rows: list[list[str]] = []
    for model, tokens in (("gpt2", 128), ("gpt2-medium", 128), ("llama2-7b", 512)):
        for plan in PLANS:
            total = cost(model, plan=plan, tokens=tokens, part="stack").total
            rows.append(
                [
                    f"{model}, {tokens} tokens, `{plan}`",
                    f"{total.rounds:,}",
                    f"{(total.online_bytes_to_server + total.online_bytes_to_client) / 1e9:,.2f} GB",
                    f"{(total.offline_bytes_to_server + total.offline_bytes_to_client) / 1e9:,.2f} GB",
                    f"{total.setup_bytes / 1e9:,.2f} GB",
                ]
            )
    return table(["blocks of", "rounds", "online, both ways", "offline", "setup"], rows)


def answer_table() -> str:
    """A private answer of the shipped model, measured."""
    record = _latest("answer.jsonl", "fss")
    bill, tokens = record["bill"], record["tokens"]
    setup = cost("tiny-python", plan="fss", tokens=1).total.setup_bytes
    row = [
        "`tiny-python`",
        f"{statistics.median(record['seconds']):.2f} s",
        f"{bill['rounds'] / tokens:.0f}",
        megabytes((bill["online_bytes_to_server"] + bill["online_bytes_to_client"]) // tokens),
        megabytes((bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]) // tokens),
        megabytes(setup),
    ]
    return table(["a token of", "wall", "rounds", "online, both ways", "offline", "setup, once"], [row])


TABLES = {
    "block": block_table,
    "stack": stack_table,
    "counted": counted_table,
    "answer": answer_table,
    "comparison": short_table,
    "finding": finding,
    "peers, in short": PEER_TABLES["peers, in short"],
}
DOCUMENTS = {
    "README.md": TABLES,
    "docs/costs.md": COST_TABLES,
    "docs/methods/audits.md": AUDIT_TABLES,
    "docs/networks.md": {
        "networks": networks_table,
        "agreement": agreement_table,
        "planned": planned_table,
    },
    "docs/operations.md": SERVICE_TABLES,
    "docs/performance.md": {
        "profile": profile_table,
        "speculation": speculation_table,
        "batches": batches_table,
    },
    "docs/comparison.md": {**COMPARISON_TABLES, "comparison measured": measured_table},
    "docs/methods/optimizers.md": OPTIMIZER_TABLES,
    "docs/methods/prompt_weights.md": WEIGHT_TABLES,
    "docs/methods/protected_data.md": PROTECTED_TABLES,
    "docs/methods/public_prefix.md": PUBLIC_PREFIX_TABLES,
    "docs/peers.md": PEER_TABLES,
    "docs/polynomial.md": POLYNOMIAL_TABLES,
    "docs/published.md": PUBLISHED_TABLES,
    "docs/methods/prefixes.md": PREFIX_TABLES,
    "docs/methods/relatives.md": RELATIVE_TABLES,
    "docs/methods/sparse.md": SPARSE_TABLES,
    "docs/methods/streaming.md": STREAMING_TABLES,
    "docs/scaling.md": SCALING_TABLES,
    "docs/two-party.md": TWO_PARTY_TABLES,
    "docs/variants.md": {**VARIANT_TABLES, **TRAINED_TABLES},
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where out of date")
    options = parser.parse_args()
    stale: list[str] = []
    for document, tables in DOCUMENTS.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        fresh = updated(text, tables, document)
        if options.check and fresh != text:
            stale.append(document)
        elif fresh != text:
            (ROOT / document).write_text(fresh, encoding="utf-8")
    if stale:
        sys.exit(f"{', '.join(stale)}: tables are out of date; run python -m bench.tables")


if __name__ == "__main__":
    main()
