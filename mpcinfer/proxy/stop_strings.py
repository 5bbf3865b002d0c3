"""Strings that end an answer, found while it grows."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Says how much of a growing text may be shown: nothing from a stop string on, nor what may become one.

    Args:
        stops: strings, none of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self.found = False

    def shown(self, text: str, *, last: bool = False) -> str:
        """What may be shown of the text so far; of its `last` form also what might have become a stop."""
        at = min((found for stop in self._stops if (found := text.find(stop)) >= 0), default=None)
        if at is not None:
            self.found = True
            return text[:at]
        return text if last else text[: len(text) - self._held(text)]

    def _held(self, text: str) -> int:
        """How long the longest end of the text is that a stop string begins with."""
        most = max((len(stop) for stop in self._stops), default=1) - 1
        return next(
            (
                count
                for count in range(min(most, len(text)), 0, -1)
                if any(stop.startswith(text[-count:]) for stop in self._stops)
            ),
            0,
        )
