"""Parts of a model that are billed or run by themselves, and the passes of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpcinfer.models.config import ModelConfig, weight_shapes

Part = Literal["all", "stack", "embedding", "head"]


def needed(config: ModelConfig, part: Part) -> set[str]:
    """Names of the weights that a part reads."""
    names = set(weight_shapes(config))
    embedding = {name for name in names if name.startswith("embed.") and not name.startswith("embed.norm.")}
    stack = {name for name in names if name.startswith(("layer", "embed.norm."))}
    head = {name for name in names if name.startswith("head.")}
    if config.tied_head:
        head.add("embed.tokens")
    return {"all": names, "embedding": embedding, "stack": stack, "head": head}[part]


def needed_by_blocks(config: ModelConfig) -> set[str]:
    """Names of the weights that `Decoder.blocks` reads."""
    return needed(config, "stack") | {
        name for name in weight_shapes(config) if name.startswith("head.residual.")
    }


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass of `tokens` tokens after the first `start`, with logits after the last `rows` of them."""

    start: int
    tokens: int
    rows: int


def answer_passes(tokens: int, new_tokens: int, speculate: int, accepted: int, first: int = 0) -> list[Pass]:
    """The passes of an answer, as `mpcinfer.generation` takes them.

    Args:
        tokens: of the prompt.
        new_tokens: of the answer.
        speculate: drafts a pass, fewer where the answer ends; 0 for a token a pass.
        accepted: how many of each pass's drafts turn out right.
        first: tokens before the prompt that are in the cache from the start.
    """
    passes, start, length, end = list[Pass](), first, first + tokens, first + tokens + new_tokens
    while length < end:
        drafts = min(speculate, end - length - 1)
        passes.append(Pass(start, length - start + drafts, drafts + 1))
        right = min(accepted, drafts)
        start, length = length + right, length + right + 1
    return passes
