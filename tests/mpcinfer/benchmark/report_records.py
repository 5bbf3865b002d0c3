"""Records for reports: counted, run, a peer's, and one without a result."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.suites.registry import get_plan

BASE = ModelConfig(
    layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=64, vocabulary=64, context=64
)
VARIANTS = {"SM+LN+G": 30.0, "SM+LN+R": 28.0, "SM+ScFuFFN": 40.0}
PLANS = ("fss", "crypten")
LENGTHS = (8, 16, 32)
PUBLISHED = [
    {
        "work": "A paper",
        "system": "ThatSystem",
        "model": "GPT-2",
        "tokens": 128,
        "online_bytes": 25.32e9,
        "seconds": [553.0, 554],
        "trust": "two parties, no dealer",
        "source": "table 4",
        "a field of later": 1,
    }
]


@cache
def counted(name: str, plan: str, tokens: int) -> BenchRecord:
    bill = count(variant(name, BASE), get_plan(plan), tokens=tokens, part="stack")
    return BenchRecord(
        case=f"{name}-{tokens}",
        kind="stack",
        plan=plan,
        plan_document=get_plan(plan).to_json(),
        model="small",
        variant=name,
        tokens=tokens,
        bill=bill.to_json(),
        quality={"perplexity": VARIANTS[name]},
        trust="a dealer",
    )


def run(name: str, plan: str, tokens: int, seconds: list[float], how: str = "loopback") -> BenchRecord:
    fields = {**json.loads(counted(name, plan, tokens).to_line()), "seconds": seconds, "how": how}
    return BenchRecord(**{**fields, "network": "loopback" if how == "loopback" else "wan-100m"})


def peer() -> BenchRecord:
    totals = {"rounds": 283, "online_bytes_to_server": 300_000_000, "online_bytes_to_client": 227_000_000}
    return BenchRecord(
        case="block", kind="block", system="Peer", tokens=128, how="loopback", bill=totals, seconds=[2.0]
    )


def failed() -> BenchRecord:
    return BenchRecord(case="too-large", kind="stack", plan="crypten-stock", failed="it does <not> fit")


def records() -> list[BenchRecord]:
    made = [counted(name, plan, tokens) for tokens in LENGTHS for name in VARIANTS for plan in PLANS]
    made += [run("SM+LN+G", "fss", 32, [0.5, 0.7, 0.6]), run("SM+LN+G", "fss", 32, [9.0], "emulated")]
    return [*made, peer(), failed()]


def write(folder: Path) -> list[Path]:
    """Two files of records and one of published numbers."""
    mine, others = folder / "mine.jsonl", folder / "peers.jsonl"
    of_others = [peer(), failed()]
    mine.write_text("".join(f"{each.to_line()}\n" for each in records() if each not in of_others))
    others.write_text("".join(f"{each.to_line()}\n" for each in of_others))
    (folder / "published.json").write_text(json.dumps(PUBLISHED))
    return [mine, others, folder / "published.json"]
