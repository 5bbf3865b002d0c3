"""Rotary positions (RoFormer, Su et al. 2021, 3.2.2): what turns, how fast. All of it is public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parties.errors import ConfigError

RopePairs = Literal["halves", "adjacent"]


@dataclass(frozen=True, slots=True)
class Rope:
    """RoPE of one layer: pair i of a head turns by position * base^(-2i / width) / divisors[i].

    Attributes:
        base: of the frequencies.
        width: coordinates of a head that turn, the first ones; even. The others stay as they are.
        pairs: which of them turn together: ``halves`` (i, i + width/2), ``adjacent`` (2i, 2i + 1).
        divisors: of the width/2 frequencies; empty for ones.
    """

    base: float
    width: int
    pairs: RopePairs = "halves"
    divisors: tuple[float, ...] = ()

    def rates(self) -> list[float]:
        """Radians a position of every pair."""
        divisors = self.divisors or (1.0,) * (self.width // 2)
        return [self.base ** (-2 * i / self.width) / divisor for i, divisor in enumerate(divisors)]


def check_rope(rope_width: int, head_width: int, divisors: tuple[float, ...]) -> None:
    """Raises ConfigError where a head of `head_width` cannot turn so; a width of 0 is the whole head."""
    width = rope_width or head_width
    if width % 2 or not 0 < width <= head_width:
        raise ConfigError(f"RoPE needs an even width, at most the head's {head_width}; got {width}")
    if len(divisors) not in (0, width // 2) or any(each <= 0 for each in divisors):
        raise ConfigError(
            f"RoPE on {width} coordinates needs {width // 2} positive divisors, got {len(divisors)}"
        )
