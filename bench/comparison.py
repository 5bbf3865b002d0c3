"""Every main variant under every plan, counted: records, and the pictures of docs/comparison.md.

    python -m bench.comparison                  records to build/comparison.jsonl, pictures to docs/pictures
    python -m bench.comparison --measure        first a block of each, in bench/records/comparison.jsonl
    mpcinfer report build/comparison.jsonl --out build/report

Costs are of GPT-2's size, and of the small models whose perplexity was measured (4 layers, width 128:
`bench.variants`), with the ranges of the profile that is assumed for shapes without weights. So they differ
by architecture alone.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.records import RECORDS
from bench.variants_report import perplexities
from bench.variants_runs import BASE
from mpcinfer.benchmark.cases import FOLDED, select, variant_of
from mpcinfer.benchmark.network import LOOPBACK
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.benchmark.report.figures import figures
from mpcinfer.benchmark.report.render import save
from mpcinfer.benchmark.report.rows import report_rows
from mpcinfer.benchmark.runner import Runner, jobs_of
from mpcinfer.benchmark.store import Store
from mpcinfer.counting import count
from mpcinfer.models.zoo import zoo
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.errors import ConfigError, RangeError

VARIANTS = (
    "SM+LN+G",
    "SM+LN+R",
    "SM+ScFuFFN",
    "EReg(SM(t)+ScFuFFN)",
    "EReg(SM(t)+ScFuFFN), folded",
    "power4",
)
PLANS = ("fss", "fss-faithful", "crypten", "crypten-stock")
LENGTHS = (128, 256, 512)
GPT2, SMALL = "gpt2", "4 layers of width 128"
TRUST = "semi-honest parties, a dealer that colludes with neither"
OUT, PICTURES = Path("build/comparison.jsonl"), RECORDS.parent.parent / "docs/pictures"
PICTURED = (
    *("bytes-by-kind", "rounds-by-kind", "bytes-against-tokens", "rounds-against-tokens"),
    *("perplexity-against-bytes", "perplexity-against-seconds"),
)


@cache
def counted(name: str, plan: str, tokens: int, model: str = GPT2) -> Bill | None:
    """The bill of a variant's blocks; None where the plan cannot run them."""
    base = zoo()[GPT2].config if model == GPT2 else BASE
    try:
        return count(variant_of(name, base), get_plan(plan), tokens=tokens, part="stack")
    except (ConfigError, RangeError):
        return None


def quality(name: str) -> dict[str, float]:
    """Perplexity of the trained small model of a name: mean over seeds, their deviation and number."""
    values = perplexities(name.removesuffix(FOLDED))  # folding changes no logits
    spread = {"perplexity_deviation": statistics.stdev(values)} if len(values) > 1 else {}
    return {"perplexity": statistics.mean(values), **spread, "seeds": len(values)} if values else {}


def records() -> Generator[BenchRecord]:
    """GPT-2's size at every length, and the trained small models at theirs."""
    cases = [(GPT2, tokens) for tokens in LENGTHS] + [(SMALL, BASE.context)]
    for model, tokens in cases:
        for name in VARIANTS:
            for plan in PLANS:
                bill = counted(name, plan, tokens, model)
                yield BenchRecord(
                    case=f"stack-{model}-{name}-{tokens}",
                    kind="stack",
                    plan=plan,
                    plan_document=get_plan(plan).to_json(),
                    model=model,
                    variant=name,
                    tokens=tokens,
                    bill={} if bill is None else bill.to_json(),
                    quality=quality(name) if model == SMALL else {},
                    trust=TRUST,
                    failed="" if bill is not None else "the plan cannot run it",
                    command="python -m bench.comparison",
                )


def measured() -> Generator[BenchRecord]:
    """The newest measured run of every case in `bench/records`, block by block and the whole stack."""
    newest: dict[tuple[Any, ...], BenchRecord] = {}
    for file in ("block.jsonl", "stack.jsonl"):
        for line in (RECORDS / file).read_text().splitlines():
            record = _converted(json.loads(line))
            newest[record.case, record.plan, record.variant, record.tokens] = record
    yield from newest.values()
    yield from measured_blocks().values()


def measured_blocks() -> dict[tuple[str, str], BenchRecord]:
    """The newest record of a block of GPT-2's size on 128 tokens, by variant and plan."""
    path = RECORDS / "comparison.jsonl"
    found = read_records([path]) if path.exists() else ()
    return {(record.variant, record.plan): record for record in found}


def measure_blocks(repeat: int) -> None:
    """Runs a block of every variant under every plan; those that have a record of as many runs are left."""
    names = [f"block/{GPT2}/{name}/{plan}/T{LENGTHS[0]}" for name in VARIANTS for plan in PLANS]
    jobs = jobs_of(select(names), "loopback", [LOOPBACK], repeat)
    runner = Runner(Store(RECORDS / "comparison.jsonl"), lambda *_: None, _say)
    runner.run(runner.missing(jobs))


def _say(record: BenchRecord, left_s: float | None) -> None:
    seconds = record.failed or f"{statistics.median(record.seconds):.2f} s"
    print(record.case, seconds, "" if left_s is None else f"({left_s:.0f} s left)", flush=True)


def _converted(old: dict[str, Any]) -> BenchRecord:
    """A record of `bench.block` or `bench.stack` in the shared form."""
    of = re.search(r" of (.+), random", old["model"])
    extra = old.get("extra", {})
    return BenchRecord(
        case=old["case"],
        kind="stack" if old["case"] == "gpt2-stack" else "block",
        plan=old["plan"],
        plan_document=get_plan(old["plan"]).to_json(),
        model=GPT2,
        variant=of[1] if of else VARIANTS[0],
        tokens=old["tokens"],
        how="loopback",
        network="loopback",
        bill=old["bill"],
        seconds=old["seconds"],
        offline_seconds=extra.get("offline_s", []),
        dealer_seconds=extra.get("dealer_s", []),
        error=old["error"],
        memory=extra.get("peak_bytes", {}),
        trust=TRUST,
        machine=old["machine"],
        commit=old["commit"],
        command=f"python -m bench.{'stack' if extra else 'block'}",
        started=old["date"],
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="where records go")
    parser.add_argument("--measure", action="store_true", help="run a block of every variant and plan first")
    parser.add_argument("--repeat", type=int, default=3, help="of what is run")
    options = parser.parse_args()
    if options.measure:
        measure_blocks(options.repeat)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = [*records(), *measured()]
    options.out.write_text("".join(f"{record.to_line()}\n" for record in found), encoding="utf-8")
    Console().print(f"{len(found)} records: {options.out}")
    with tempfile.TemporaryDirectory() as folder:
        for figure in figures(report_rows(each for each in found if each.how == "counted")):
            if figure.name in PICTURED:
                svg, _ = save(figure, Path(folder))
                shutil.copy(svg, PICTURES / f"comparison-{figure.name}.svg")
                Console().print(PICTURES / f"comparison-{figure.name}.svg")


if __name__ == "__main__":
    main()
