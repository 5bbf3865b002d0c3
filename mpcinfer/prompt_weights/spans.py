"""Where examples stand in a prompt: as characters, then as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from parties.errors import ConfigError

Span = tuple[int, int]
"""First character or token, and one after the last."""


def spans_of(prompt: str, examples: Sequence[str]) -> list[Span]:
    """Characters of each example; they come in this order, each after the end of the one before.

    Raises:
        ConfigError: an example is empty, or the prompt lacks it there.
    """
    found, at = list[Span](), 0
    for number, example in enumerate(examples, 1):
        if not example:
            raise ConfigError(f"prompt weights: example {number} is empty")
        start = prompt.find(example, at)
        if start < 0:
            where = "the prompt" if number == 1 else f"the prompt after example {number - 1}"
            raise ConfigError(f"prompt weights: {where} lacks example {number}, {example[:60]!r}")
        at = start + len(example)
        found.append((start, at))
    return found


def examples_of_tokens(tokens: Sequence[Span], examples: Sequence[Span]) -> list[int | None]:
    """Of every token, which example it belongs to: the first that it has a character of; None where there is
    none, as for special tokens.

    Args:
        tokens: characters of each token; none where both ends are the same.
        examples: of `spans_of`.
    """
    belongs = list[int | None]()
    for start, end in tokens:
        overlaps = (n for n, (first, last) in enumerate(examples) if start < last and first < end)
        belongs.append(next(overlaps, None) if start < end else None)
    return belongs
