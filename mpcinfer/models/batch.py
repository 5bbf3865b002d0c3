"""How many prompts a pass runs, and whether they may have different lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpcinfer.models.config import ModelConfig
from parties.errors import ConfigError

MOST_PROMPTS = 64
"""Of one pass."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What both parties know of the prompts of a pass.

    Attributes:
        size: how many there are, 1 to `MOST_PROMPTS`.
        padded: shorter ones have padding at their start, and the client alone knows how much.

    Raises:
        ConfigError: too many or none, or one that is padded.
    """

    size: int = 1
    padded: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_PROMPTS:
            raise ConfigError(f"batch: a pass runs 1 to {MOST_PROMPTS} prompts, not {self.size}")
        if self.padded and self.size == 1:
            raise ConfigError("batch: a single prompt has no padding")

    @classmethod
    def of(cls, size: int, *, equal_lengths: bool) -> Batch:
        """So many prompts, all of one length or of any."""
        return cls(size, size > 1 and not equal_lengths)

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self.size > 1

    def to_document(self) -> dict[str, Any]:
        """As both parties and the dealer are told of it; nothing for a single prompt."""
        return {"batch": self.size, "padded": self.padded} if self.several else {}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Batch:
        """The batch of `to_document`, among other things of the document.

        Raises:
            ConfigError: it is none.
        """
        size, padded = document.get("batch", 1), document.get("padded", False)
        if type(size) is not int or type(padded) is not bool:
            raise ConfigError(f"batch: {size!r} prompts, padded {padded!r}")
        return cls(size, padded)

    def require_maskable(self, config: ModelConfig) -> None:
        """Raises ConfigError where a pass cannot leave out padding that only the client knows of."""
        if not self.padded:
            return
        if config.patterns:
            raise ConfigError(
                "patterns: padding would move which keys a query sees; give prompts of one length, and say "
                "so: --equal-lengths (equal_lengths=True)"
            )
        if not config.causal and config.positions != "learned":
            raise ConfigError(
                f"positions={config.positions}: texts of different lengths whose tokens see all others need "
                "positions=learned; give texts of one length, and say so: --equal-lengths "
                "(equal_lengths=True)"
            )
        for key, value, possible in (
            ("attention", config.attention, "softmax"),
            ("temperature", config.temperature, "none or head"),
        ):
            if value not in possible:
                raise ConfigError(
                    f"{key}={value}: prompts of different lengths need {key}={possible}; give prompts of one "
                    "length, and say so: --equal-lengths (equal_lengths=True)"
                )


SINGLE = Batch()
