"""`mpcinfer audit gradients` as sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.audit.report import AuditReport
from mpcinfer.audit.shared_gradients import TOKENS, WIDTH, InversionRow, NoiseRow
from mpcinfer.benchmark.report.tables import Column, Table

NO_GRADIENTS = (
    "Private inference computes no gradients and shares none, whatever the plan: this audit is about "
    "training and adapters that several parties would fit together."
)


def gradients_report(inversions: Sequence[InversionRow], noise: Sequence[NoiseRow]) -> AuditReport:
    """All of it."""
    exact = sum(row.lm.exact for row in inversions)
    return AuditReport(
        name="gradients",
        title="Audit of shared gradients",
        lines=[
            NO_GRADIENTS,
            f"Levenberg-Marquardt reconstructs {exact} of {len(inversions)} texts exactly, L-BFGS "
            f"{sum(row.lbfgs.exact for row in inversions)}; no noise, known labels.",
        ],
        tables=[inversions_table(inversions), noise_table(noise)],
        results={"inversions": inversions, "noise": noise},
    )


def inversions_table(inversions: Sequence[InversionRow]) -> Table:
    """A row a text."""
    rows = tuple(
        (
            *(number, row.labels, f"{row.rank} of {TOKENS * WIDTH}", row.condition, row.lbfgs.row_error),
            *(row.lm.row_error, row.lm.restarts, "yes" if row.lm.exact else "no", row.noisy.row_error),
        )
        for number, row in enumerate(inversions)
    )
    columns = (
        *(Column("text", "text"), Column("labels", "labels"), Column("rank", "rank")),
        *(Column("condition", "condition", _whole), Column("lbfgs", "error, L-BFGS", _small)),
        *(Column("lm", "error, LM", _small), Column("restarts", "beginnings"), Column("exact", "exact")),
        Column("noisy", "error, LM, noise 0.1", _small),
    )
    text = (
        f"One softmax head and a classifier, {TOKENS} rows of {WIDTH}: mean square error of the rows that "
        "were reconstructed; rows are of order 1. The loss is a reconstruction of the paper's."
    )
    return Table("inversions", "Gradient inversion", text, columns, rows)


def noise_table(noise: Sequence[NoiseRow]) -> Table:
    """A row an amount of noise."""
    rows = tuple((row.sigma, row.multiplier, row.span, row.accuracy, row.epsilon) for row in noise)
    columns = (
        *(Column("sigma", "sigma", _small), Column("multiplier", "noise multiplier", _small)),
        *(Column("span", "tokens named", _share), Column("accuracy", "accuracy", _share)),
        Column("epsilon", "epsilon of one release", _small),
    )
    text = (
        "Sigma is the length of the noise over that of the clipped gradient. Tokens: the span check on the "
        "value matrix's gradient, 6 of 200 tokens, where guessing names 0.030. Accuracy: of a classifier "
        "trained on gradients with the same noise, where guessing gets 0.100. Epsilon at delta 1e-5."
    )
    return Table("noise", "Noise on gradients", text, columns, rows)


def _share(value: float) -> str:
    return f"{value:.3f}"


def _small(value: float) -> str:
    return f"{value:.2g}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
