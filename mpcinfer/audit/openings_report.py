"""`mpcinfer audit openings` as sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.audit.chance import LEVEL
from mpcinfer.audit.opened import PROMPT, TOLD, OpenedAudit
from mpcinfer.audit.report import AuditReport
from mpcinfer.audit.revealed import NOISES, DeficitRow, ExtractedRow, RevealedRow
from mpcinfer.benchmark.report.tables import Column, Table


def openings_report(
    opened: Sequence[OpenedAudit],
    deficits: Sequence[DeficitRow],
    revealed: Sequence[RevealedRow],
    extracted: Sequence[ExtractedRow],
) -> AuditReport:
    """All of it."""
    return AuditReport(
        name="openings",
        title="Audit of what is opened",
        lines=[verdict(each) for each in opened],
        tables=[
            opened_table(opened),
            deficits_table(deficits),
            revealed_table(revealed),
            extracted_table(extracted),
        ],
        results={
            "opened": opened,
            "deficits": deficits,
            "revealed": revealed,
            "extracted": extracted,
        },
    )


def verdict(audit: OpenedAudit) -> str:
    """A plan's result for one secret, in a sentence."""
    who = "server" if audit.secret == PROMPT else "client"
    start = f"{audit.plan}: what the {who} sees of the {audit.secret} is"
    if audit.clean:
        least = min((row.p_value for row in audit.rows if row.reason not in _told(audit)), default=1.0)
        return (
            f"{start} at chance level ({audit.trials} sessions, {audit.candidates} candidates, p {least:.2g})"
        )
    what = [f"{row.reason} names {row.best:.2f}" for row in audit.leaks]
    what += [f"sizes differ: {label}" for label in audit.sizes]
    return f"{start} NOT at chance level: {'; '.join(what)}"


def opened_table(audits: Sequence[OpenedAudit]) -> Table:
    """A row a reason."""
    rows = [
        (
            *(audit.plan, audit.secret, row.reason, row.labels, row.words, 1 / audit.candidates),
            *(row.rate, row.best, row.p_value, _said(audit, row.reason, row.at_chance)),
        )
        for audit in audits
        for row in audit.rows
    ]
    columns = (
        *(Column("plan", "plan"), Column("secret", "secret"), Column("reason", "opened for")),
        *(Column("labels", "labels"), Column("words", "words"), Column("guessing", "guessing", _share)),
        *(Column("rate", "named right", _share), Column("best", "at the best label", _share)),
        *(Column("p_value", "p", _small), Column("verdict", "verdict")),
    )
    text = (
        "A candidate's session is kept; of sessions with a secret drawn at random the nearest candidate is "
        "named, label by label, from what is received, its sum and XOR with what was sent, and what the "
        f"dealer sends. p is binomial and exact, times the number of tests; chance level: p above {LEVEL:g}."
    )
    return Table("opened", "What plans open", text, columns, tuple(rows))


def deficits_table(deficits: Sequence[DeficitRow]) -> Table:
    """A row a width."""
    rows = tuple((row.width, row.weights, row.symmetric, row.power4, row.outputs) for row in deficits)
    columns = (
        *(Column("width", "width d"), Column("weights", "weights, generic W")),
        *(Column("symmetric", "weights, symmetric W"), Column("power4", "weights of power 4, epsilon 0")),
        Column("outputs", "output rows"),
    )
    text = (
        "Rank deficit of the Jacobian by the prompt's rows, n = 2d + 2, no mask: directions left open. "
        "floor(d/2), d(d-1)/2, floor(d/2) + 1 and 0 are what theory gives."
    )
    return Table("deficits", "Directions that attention leaves open", text, columns, rows)


def revealed_table(revealed: Sequence[RevealedRow]) -> Table:
    """A row a tensor and kind of attention."""
    rows = tuple(
        (
            *(row.tensor, row.kind, "steps" if row.deficit is None else f"{row.deficit} of {row.unknowns}"),
            *(row.recovery[noise] for noise in NOISES),
        )
        for row in revealed
    )
    columns = (
        *(Column("tensor", "tensor"), Column("kind", "attention"), Column("deficit", "rank deficit")),
        *(Column(f"noise_{noise:g}", f"noise {noise:g}", _share) for noise in NOISES),
    )
    text = (
        "Counter-examples: no plan reveals these. Tokens found by whoever knows the weights, by trying the "
        "vocabulary from token to token with the first one known; noise is relative. A low number is no "
        "argument that a tensor is safe: a better search may find more."
    )
    return Table("revealed", "What weaker protocols reveal of prompts", text, columns, rows)


def extracted_table(extracted: Sequence[ExtractedRow]) -> Table:
    """A row a tensor."""
    rows = tuple((row.tensor, *(row.found[noise] for noise in NOISES)) for row in extracted)
    noises = (Column(f"noise_{noise:g}", f"noise {noise:g}", _share) for noise in NOISES)
    text = (
        "Counter-examples: columns of a layer that a client finds, to within 0.001, where it chooses inputs "
        "and sees outputs; noise is relative. Permuted ones give the columns in some order."
    )
    columns = (Column("tensor", "tensor"), *noises)
    return Table("extracted", "What weaker protocols reveal of weights", text, columns, rows)


def _told(audit: OpenedAudit) -> dict[str, str]:
    return TOLD.get(audit.secret, {})


def _said(audit: OpenedAudit, reason: str, at_chance: bool) -> str:
    if reason in _told(audit):
        return f"meant to be seen: {_told(audit)[reason]}"
    return "chance" if at_chance else "LEAK"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _small(value: float) -> str:
    return f"{value:.2g}"
