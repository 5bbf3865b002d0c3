"""Public lengths that prompts are padded to: a server then learns which of few it is, and not their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from parties.errors import ConfigError

DEFAULT_SIZES = tuple(16 << step for step in range(11))
"""16, 32, 64, ..., 16,384 tokens: each twice the one before, so that from 9 tokens on padding is less than
half of a pass."""
MOST_SIZES = 16
"""Of one list."""
_MOST_TOKENS = 1 << 24
_COARSE = 1.5


@dataclass(frozen=True, slots=True)
class Buckets:
    """Lengths in tokens that a padded prompt may have.

    Attributes:
        sizes: ascending, 1 or more; none for exact lengths, which a bill then says.
        where_possible: where a model or a plan has no padding, prompts run at their exact length, and the
            bill says why; otherwise that is refused.
        why: (no sizes) why lengths are exact, for the bill.

    Raises:
        ConfigError: sizes that do not ascend, are below 1, or are more than `MOST_SIZES`.
    """

    sizes: tuple[int, ...] = DEFAULT_SIZES
    where_possible: bool = False
    why: str = ""

    def __post_init__(self) -> None:
        if len(self.sizes) > MOST_SIZES:
            raise ConfigError(f"buckets: {len(self.sizes)} sizes, at most {MOST_SIZES}")
        if any(not 1 <= size <= _MOST_TOKENS for size in self.sizes):
            raise ConfigError(f"buckets: a size is 1 to {_MOST_TOKENS:,} tokens, got {list(self.sizes)}")
        if any(first >= second for first, second in pairwise(self.sizes)):
            raise ConfigError(f"buckets: sizes ascend, got {list(self.sizes)}")

    @classmethod
    def parse(cls, text: str, why: str = "") -> Buckets:
        """What a command line says: `default`, `none`, or sizes such as `32,128,512`.

        Args:
            why: as the attribute, for `none`.

        Raises:
            ConfigError: none of these.
        """
        if text == "none":
            return cls((), why=why)
        if text == "default":
            return cls()
        try:
            return cls(tuple(int(size) for size in text.split(",")))
        except ValueError:
            raise ConfigError(
                f"--buckets takes default, none, or tokens such as 32,128,512, got {text[:80]!r}"
            ) from None

    def __str__(self) -> str:
        return ", ".join(f"{size:,}" for size in self.sizes) or "none"

    def of(self, tokens: int, room: int, answer: int) -> int:
        """The length that a prompt is padded to.

        It depends on `tokens` through few values alone: the first size that holds the prompt and leaves room
        for the answer. Beyond those sizes it is the room less the answer's, and for still longer prompts the
        room less a half, a quarter, ... of the answer's. For an answer no more than half of the room is kept:
        one that asks for more ends sooner by what padding takes.

        Args:
            tokens: of the prompt, at least 1; with an answer fewer than `room`.
            room: tokens of the session for prompt and answer.
            answer: the most new tokens; 0 for a text that is read and not continued.

        Raises:
            ConfigError: the prompt does not fit, or there are no sizes.
        """
        if not self.sizes:
            raise ConfigError("buckets: there are no sizes to pad to")
        if not 1 <= tokens <= room - min(answer, 1):
            raise ConfigError(f"a prompt of {tokens:,} tokens does not fit a room of {room:,}")
        kept = min(answer, room // 2)
        for size in self.sizes:
            if tokens <= size <= room - kept:
                return size
        while room - kept < tokens:
            kept //= 2
        return room - kept

    def require_coarse(self) -> None:
        """For sizes that a server asks of its clients.

        Raises:
            ConfigError: two of them are so close that they would tell lengths.
        """
        for first, second in pairwise(self.sizes):
            if second < _COARSE * first:
                raise ConfigError(
                    f"buckets: {first} and {second} are too close, they would tell lengths: each is to be "
                    f"{_COARSE} times the one before or more"
                )

    def to_document(self) -> dict[str, Any]:
        """As a server tells its clients."""
        return {"buckets": list(self.sizes)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Buckets:
        """The buckets of `to_document` from a peer, among other things of the document; padding where it is
        possible.

        Raises:
            ConfigError: there are none, or they are too close to each other.
        """
        sizes = document.get("buckets")
        if not isinstance(sizes, list) or not all(type(size) is int for size in cast(list[object], sizes)):
            raise ConfigError("buckets: expected a list of numbers of tokens")
        buckets = cls(
            tuple(cast(list[int], sizes)), where_possible=True, why="the server asks for no padding"
        )
        buckets.require_coarse()
        return buckets


DEFAULT_BUCKETS = Buckets(where_possible=True)
"""What clients of a server elsewhere pad to where nobody says otherwise."""
