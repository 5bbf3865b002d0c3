"""Labels of frames: where in a model, and why."""

from __future__ import annotations

from parties.link import Link


def labelled(link: Link, reason: str) -> str:
    """The meter's label, and why."""
    return f"{link.meter.label}/{reason}"
