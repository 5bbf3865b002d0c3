"""The baseline of counts: rounds and bytes of operations, blocks and models, without running any of them.

python -m bench.counts           counts anew and writes bench/counts.jsonl
python -m bench.counts --check   fails where a count is not as the file has it, and says which

A line is a benchmark record of totals alone, so `mpcinfer bench compare bench/counts.jsonl OTHER` works.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from mpcinfer.benchmark.cases import Case, parse, select
from mpcinfer.benchmark.compare import COUNTS, compare, described, summary
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.benchmark.runner import count_of
from parties.errors import MpcInferError

COUNTS_FILE = Path(__file__).parent / "counts.jsonl"
PATTERNS = ("operation/*", "block/*", "stack/*", "model/tiny-python/*", "token/tiny-python/*")
MODELS = ("smollm2-135m-instruct",)
"""Counted whether or not their weights are on this machine."""
PLANS = ("fss", "fss-faithful", "crypten")
_DEFAULTS = {each.name: each.default for each in dataclasses.fields(BenchRecord)}


def cases() -> list[Case]:
    """What the baseline has."""
    named = [
        parse(f"{kind}/{model}/{plan}/T32")
        for kind in ("model", "token")
        for model in MODELS
        for plan in PLANS
    ]
    return [*select(PATTERNS), *named]


def counted(which: Iterable[Case]) -> list[BenchRecord]:
    """Their records, of totals alone; what cannot be counted says why."""
    return [_counted(case) for case in which]


def _counted(case: Case) -> BenchRecord:
    try:
        total = count_of(case).total
    except MpcInferError as error:
        return BenchRecord(case=case.name, kind=case.kind, failed=f"{type(error).__name__}: {error}")
    return BenchRecord(case=case.name, kind=case.kind, bill={name: getattr(total, name) for name in COUNTS})


def line_of(record: BenchRecord) -> str:
    """A record's line without what is as everywhere else."""
    fields = dataclasses.asdict(record).items()
    return json.dumps({name: value for name, value in fields if value and value != _DEFAULTS[name]})


def check(path: Path) -> list[str]:
    """What is not as the file has it, in words; empty where nothing is.

    Raises:
        ConfigError: the file cannot be read.
    """
    changes = compare(read_records([path]), counted(cases()))
    off = [change for change in changes if change.counts or change.said]
    return [*described(off), summary(changes)] if off else []


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail where a count is not as in the file")
    if not parser.parse_args().check:
        COUNTS_FILE.write_text("".join(line_of(record) + "\n" for record in counted(cases())))
        return
    off = check(COUNTS_FILE)
    if off:
        again = "if that is meant, say why in the commit, and write it anew: python -m bench.counts"
        sys.exit("\n".join([*off, f"{COUNTS_FILE.name} is not what is counted; {again}"]))


if __name__ == "__main__":
    main()
