"""Writes the table of docs/models.md: every family's largest difference from `transformers`, also privately.

python -m scripts.family_errors
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import transformers

from tests.mpcinfer.models.family_cases import CASES, largest_error
from tests.mpcinfer.test_private_folders import shown

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
SEEDS = range(4)
_TABLE = re.compile(r"\| `model_type` \| largest difference .*\Z", re.DOTALL)


def table() -> str:
    """A row a family: the largest difference and the spread of logits, over all seeds; of a private run of
    one of them, the largest difference and what is stated."""
    lines = [
        "| `model_type` | largest difference | spread of logits | privately, `fss` | stated |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, case in CASES.items():
        measured: list[tuple[float, float]] = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                measured.append(largest_error(case.save(Path(folder), seed), Path(folder)))
        error, spread = (max(column) for column in zip(*measured, strict=True))
        with tempfile.TemporaryDirectory() as folder:
            private, stated, _ = shown(name, Path(folder)).errors
        lines.append(f"| `{name}` | {error:.1e} | {spread:.2f} | {private:.1e} | {stated:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    text = PAGE.read_text(encoding="utf-8")
    kept = _TABLE.sub("", text).rstrip("\n")
    PAGE.write_text(f"{kept}\n\n{table()}", encoding="utf-8")
