"""What a server lets one session take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parties.errors import AdmissionRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """Bounds of one session; None for none.

    Attributes:
        context: the most tokens that a session may hold room for.
        prompt_tokens: of one pass, a sequence.
        session_tokens: of all passes together.
        session_s: seconds from its first step on.
    """

    context: int | None = None
    prompt_tokens: int | None = None
    session_tokens: int | None = None
    session_s: float | None = None


UNLIMITED = StepLimits()


class StepCount:
    """What a session took of its limits.

    Args:
        now: the clock, in seconds.

    Attributes:
        tokens: of all passes so far.
    """

    def __init__(self, limits: StepLimits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now, self._began_s, self.tokens = limits, now, now(), 0

    def require_context(self, context: int) -> None:
        """That a session may have room for so many tokens.

        Raises:
            AdmissionRefused: it may not.
        """
        most = self._limits.context
        if most is not None and context > most:
            raise AdmissionRefused("context", f"a session holds at most {most} tokens here, not {context}")

    def require(self, lengths: Sequence[int]) -> None:
        """That passes of these lengths may be run or prepared, one after the other.

        Raises:
            AdmissionRefused: they may not; the session ends.
        """
        limits = self._limits
        if limits.prompt_tokens is not None and max(lengths) > limits.prompt_tokens:
            raise AdmissionRefused(
                "prompt", f"a pass has at most {limits.prompt_tokens} tokens here, not {max(lengths)}"
            )
        total = self.tokens + sum(lengths)
        if limits.session_tokens is not None and total > limits.session_tokens:
            raise AdmissionRefused(
                "tokens", f"a session runs at most {limits.session_tokens} tokens here, not {total}", 0.0
            )
        if limits.session_s is not None and self._now() - self._began_s > limits.session_s:
            raise AdmissionRefused("time", f"a session lasts at most {limits.session_s:g} s here", 0.0)

    def ran(self, tokens: int) -> None:
        """A pass of so many tokens."""
        self.tokens += tokens
