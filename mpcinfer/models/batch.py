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
        padded: they may have padding at their start, and the client alone knows how much: shorter ones, or a
            single one that is padded to a public length (`mpcinfer.models.buckets`).

    Raises:
        ConfigError: too many or none.
    """

    size: int = 1
    padded: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_PROMPTS:
            raise ConfigError(f"batch: a pass runs 1 to {MOST_PROMPTS} prompts, not {self.size}")

    @classmethod
    def of(cls, size: int, *, equal_lengths: bool, pad: bool = False) -> Batch:
        """So many prompts, all of one length or of any.

        Args:
            pad: a single one may have padding, too.
        """
        return cls(size, (size > 1 or pad) and not equal_lengths)

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self.size > 1

    @property
    def advice(self) -> str:
        """What to do where padding is refused."""
        return advice(self.size)

    def to_document(self) -> dict[str, Any]:
        """As both parties and the dealer are told of it; nothing for a single prompt without padding."""
        return {"batch": self.size, "padded": self.padded} if self.several or self.padded else {}

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
            raise ConfigError(f"patterns: padding would move which keys a query sees; {self.advice}")
        if not config.causal and config.positions != "learned":
            raise ConfigError(
                f"positions={config.positions}: padded texts whose tokens see all others need "
                f"positions=learned; {self.advice}"
            )
        for key, value, possible in (
            ("attention", config.attention, "softmax"),
            ("temperature", config.temperature, "none or head"),
        ):
            if value not in possible:
                raise ConfigError(f"{key}={value}: padded prompts need {key}={possible}; {self.advice}")


def advice(size: int) -> str:
    """What to do where so many prompts a pass cannot be padded."""
    if size == 1:
        return "run prompts at their exact length: --exact-lengths (buckets=None)"
    return "give prompts of one length, and say so: --equal-lengths (equal_lengths=True)"


SINGLE = Batch()
