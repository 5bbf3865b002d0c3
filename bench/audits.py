"""What plans open, what weaker protocols reveal, and what gradients tell, attacked and recorded.

    python -m bench.audits opened fss crypten two-party
    python -m bench.audits revealed --texts 8
    python -m bench.audits inversions --texts 8
    python -m bench.audits noise         needs opacus: pip install 'mpcinfer[audit]'

Records go to bench/records/audits.jsonl, tables from there to docs/methods/audits.md (bench.tables).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

from bench.markdown import table
from bench.records import RECORDS, Record
from mpcinfer.audit.heads import REVEALED
from mpcinfer.audit.inversion import EXACT
from mpcinfer.audit.opened import PROMPT, TOLD, WEIGHTS, audit_opened
from mpcinfer.audit.report import document
from mpcinfer.audit.revealed import KINDS, NOISES, Sizes, deficit_row, extracted_rows, revealed_row
from mpcinfer.audit.shared_gradients import inversion_row, noise_rows
from mpcinfer.suites.registry import get_plan

FILE = "audits.jsonl"
_SESSIONS = {"two-party": (4, 10)}
"""Candidates and trials of a plan whose sessions take seconds; 8 and 24 of the others."""


def record(case: str, plan: str, rows: Sequence[Any]) -> None:
    """Appends what an audit found."""
    extra = {"rows": [document(row) for row in rows]}
    Record(
        case=case, plan=plan, model="random", tokens=0, measured=True, bill={}, extra=extra, kernels={}
    ).append(RECORDS / FILE)


def run(what: str, plans: Sequence[str], texts: int) -> None:
    """One kind of audit, of so many texts where it is of texts."""
    if what == "opened":
        for name in plans:
            plan, (candidates, trials) = get_plan(name), _SESSIONS.get(name, (8, 24))
            both = [
                audit_opened(plan, secret, candidates=candidates, trials=trials)
                for secret in (PROMPT, WEIGHTS)
            ]
            record("opened", name, both)
    elif what == "revealed":
        record("deficits", "", [deficit_row(width) for width in range(2, 9)])
        sizes = Sizes(prompts=texts)
        record("revealed", "", [revealed_row(each, kind, sizes) for kind in KINDS for each in REVEALED])
        record("extracted", "", extracted_rows())
    elif what == "inversions":
        record(
            "inversions", "", [inversion_row(n, pooled=kind) for kind in (True, False) for n in range(texts)]
        )
    else:
        record("noise", "", noise_rows(account=True))


def rows_of(case: str, plan: str = "") -> list[dict[str, Any]]:
    """The newest record's rows; nothing where there is none."""
    path = RECORDS / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = (json.loads(line) for line in reversed(lines))
    found = next((each for each in records if (each["case"], each["plan"]) == (case, plan)), None)
    return found["extra"]["rows"] if found else []


def opened_table() -> str:
    """A row a plan and secret: the closest to a leak of all that is opened."""
    body: list[list[str]] = []
    for plan in ("fss", "crypten", "two-party"):
        for audit in rows_of("opened", plan):
            told = TOLD.get(audit["secret"], {})
            hidden = [row for row in audit["rows"] if row["reason"] not in told]
            worst = min(hidden, key=lambda row: row["p_value"])
            body.append(
                [
                    f"`{plan}`",
                    audit["secret"],
                    str(len(hidden)),
                    f"{sum(row['words'] for row in hidden):,}",
                    str(audit["trials"]),
                    f"{1 / audit['candidates']:.3f}",
                    f"{sum(row['rate'] for row in hidden) / len(hidden):.3f}",
                    f"{worst['p_value']:.2g} ({worst['reason']})",
                    "clean" if audit["clean"] else "LEAK",
                ]
            )
    header = ["plan", "secret", "reasons", "words a session", "trials", "guessing", "named right", "least p"]
    header.append("verdict")
    return table(header, body, left={"secret", "verdict"})


def deficits_table() -> str:
    """Rank deficits by width."""
    header = ["d", "weights, generic W", "floor(d/2)", "weights, symmetric W", "d(d-1)/2"]
    header += ["weights of power 4", "floor(d/2) + 1", "output rows"]
    body = [
        [
            *(str(d := row["width"]), str(row["weights"]), str(d // 2), str(row["symmetric"])),
            *(str(d * (d - 1) // 2), str(row["power4"]), str(d // 2 + 1), str(row["outputs"])),
        ]
        for row in rows_of("deficits")
    ]
    return table(header, body)


def revealed_table() -> str:
    """Tokens found by enumeration, by tensor and noise."""
    header = ["tensor", "attention", "rank deficit", *(f"noise {noise:g}" for noise in NOISES)]
    body = [
        [
            row["tensor"],
            row["kind"],
            "steps" if row["deficit"] is None else f"{row['deficit']} of {row['unknowns']}",
            *(f"{value:.2f}" for value in row["recovery"].values()),
        ]
        for row in rows_of("revealed")
    ]
    return table(header, body, left={"attention"})


def extracted_table() -> str:
    """Columns of a layer found by a client."""
    header = ["tensor", *(f"noise {noise:g}" for noise in NOISES)]
    body = [
        [row["tensor"], *(f"{value:.2f}" for value in row["found"].values())] for row in rows_of("extracted")
    ]
    return table(header, body)


def inversions_table() -> str:
    """Texts reconstructed from gradients, a row a kind of labels: medians, and ranges in brackets."""
    header = ["labels", "texts", "rank of 48", "condition", "error, L-BFGS", "exact, LM", "beginnings"]
    rows, body = rows_of("inversions"), list[list[str]]()
    for labels in dict.fromkeys(row["labels"] for row in rows):
        texts = [row for row in rows if row["labels"] == labels]
        body.append(
            [
                *(labels, str(len(texts)), _over([row["rank"] for row in texts], ",.0f")),
                _over([row["condition"] for row in texts], ",.0f"),
                _over([row["lbfgs"]["row_error"] for row in texts], ".1g"),
                str(sum(row["lm"]["row_error"] < EXACT for row in texts)),
                _over([row["lm"]["restarts"] for row in texts], ".0f"),
                _over([row["noisy"]["row_error"] for row in texts], ".1g"),
            ]
        )
    return table([*header, "error, LM, noise 0.1"], body)


def _over(values: Sequence[float], form: str) -> str:
    """The median, and the range where values differ."""
    middle, least, most = (format(f(values), form) for f in (statistics.median, min, max))
    return middle if least == most else f"{middle} ({least} to {most})"


def noise_table() -> str:
    """What noise prevents and costs."""
    header = ["sigma", "noise multiplier", "tokens named", "accuracy", "epsilon of one release"]
    body = [
        [
            *(
                f"{row['sigma']:g}",
                f"{row['multiplier']:.2g}",
                f"{row['span']:.3f}",
                f"{row['accuracy']:.3f}",
            ),
            "none" if row["epsilon"] is None else f"{row['epsilon']:.2g}",
        ]
        for row in rows_of("noise")
    ]
    return table(header, body)


TABLES: dict[str, Callable[[], str]] = {
    "audit of openings": opened_table,
    "rank deficits": deficits_table,
    "revealed tensors": revealed_table,
    "extracted weights": extracted_table,
    "gradient inversion": inversions_table,
    "noise on gradients": noise_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("opened", "revealed", "inversions", "noise"))
    parser.add_argument("plans", nargs="*", help="of `opened`")
    parser.add_argument("--texts", type=int, default=8, help="of `revealed` and `inversions`")
    options = parser.parse_args()
    if options.what == "opened" and not options.plans:
        sys.exit("say which plans: fss crypten two-party")
    run(options.what, options.plans, options.texts)


if __name__ == "__main__":
    main()
