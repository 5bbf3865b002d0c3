"""What `tests/openings.txt` lists."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).parent / "openings.txt"


def listed(suite: str) -> dict[str, str]:
    """Reason -> why it may be opened, for one suite."""
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            reason, why = line.split(":", 1)
            assert reason not in current, f"{reason} is listed twice"
            current[reason] = why.strip()
    return sections[suite]


def reason(label: str, suite: str) -> str:
    """Why a frame with this label is sent."""
    assert "/" in label, f"a frame without a reason: {label}"
    before, after = label.rsplit("/", 1)
    return before if suite == "fss" and before.startswith("setup") else after
