"""Weights of a prompt's examples, and what they make of the columns of attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.settings import LEAST
from mpcinfer.prompt_weights.spans import examples_of_tokens, spans_of
from mpcinfer.prompts import prompt_ids
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PromptWeights:
    """How often each example of a prompt counts: attention weighs a key of it w times, in every layer and
    head, for the prompt's tokens and the answer's. All other tokens count once.

    Of softmax y_j = w_j exp(s_j) before rows are divided, so that only proportions matter, those to the rest
    of the prompt included; weights of 1 change nothing.

    Attributes:
        examples: their texts, in the order in which the prompt has them.
        weights: of each, >= 0.
        least: below this part of the largest weight (1 of other tokens included) a weight counts as it, in
            (0, 1]. Attention has no weight of 0: in a private run logarithms are to fit rings.

    Raises:
        ConfigError: not a weight for each example, no examples, a weight that is negative, infinite or NaN,
            none that is above 0, or `least` out of its range.

    Source: RICL (arXiv 2310.03331) weighs the embeddings of a prompt's examples; that attention weighs them
        is this project's own.
    """

    examples: tuple[str, ...]
    weights: tuple[float, ...]
    least: float = LEAST

    def __post_init__(self) -> None:
        if not self.examples:
            raise ConfigError("prompt weights: there are no examples")
        if len(self.examples) != len(self.weights):
            raise ConfigError(
                f"prompt weights: {len(self.weights)} weights for {len(self.examples)} examples"
            )
        for number, weight in enumerate(self.weights, 1):
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"prompt weights: example {number} has {weight}; a weight is 0 or more")
        if not any(self.weights):
            raise ConfigError("prompt weights: all weights are 0")
        if not 0 < self.least <= 1:
            raise ConfigError(f"prompt weights: least is above 0 and at most 1, got {self.least}")

    @classmethod
    def of(
        cls, examples: Sequence[str], weights: Sequence[float] | None = None, least: float = LEAST
    ) -> PromptWeights:
        """Of any sequences; without weights all are 1. Raises ConfigError as above."""
        return cls(tuple(examples), (1.0,) * len(examples) if weights is None else tuple(weights), least)

    @property
    def logs(self) -> list[float]:
        """log w of every example, no less than `least` allows."""
        floor = math.log(self.least) + math.log(max(1.0, *self.weights))
        return [max(math.log(w), floor) if w else floor for w in self.weights]

    def of_tokens(self, public: PublicModel, prompt: str) -> list[float]:
        """log w of every token of a prompt.

        Raises:
            ConfigError: the prompt lacks an example, or is none (`prompt_ids`).
        """
        ids, spans = prompt_ids(public, prompt), public.tokenizer.spans(prompt)
        assert len(ids) == len(spans)
        logs = self.logs
        belongs = examples_of_tokens(spans, spans_of(prompt, self.examples))
        return [0.0 if number is None else logs[number] for number in belongs]

    def columns(self, public: PublicModel, prompt: str) -> ColumnWeights:
        """What a session takes. Raises ConfigError as `of_tokens`."""
        return ColumnWeights.of_rows([self.of_tokens(public, prompt)])


def private_columns(
    public: PublicModel,
    prompts: Sequence[str],
    weights: Sequence[PromptWeights | None] | None,
    padding: Sequence[int] | None = None,
    *,
    prefixed: bool = False,
) -> ColumnWeights | None:
    """What a private session takes, of a pass's prompts; None where no prompt has weights.

    Args:
        weights: of each prompt, or None for none of them.
        padding: tokens before each sequence of the pass, of which the first are the prompts.
        prefixed: the session has a prefix, public or of an adapter.

    Raises:
        ConfigError: not as many weights as prompts, a prompt that lacks an example, or other attention than
            softmax.
    """
    if weights is None:
        return None
    if len(weights) != len(prompts):
        raise ConfigError(f"{len(weights)} prompt weights for {len(prompts)} prompts")
    if all(each is None for each in weights):
        return None
    require_weighable(public.config, private=True, prefixed=prefixed)
    pairs = zip(prompts, weights, strict=True)
    rows = [[] if each is None else each.of_tokens(public, prompt) for prompt, each in pairs]
    return ColumnWeights.of_rows(rows + [[] for _ in (padding or [])[len(rows) :]], padding)


def require_weighable(config: ModelConfig, *, private: bool, prefixed: bool = False) -> None:
    """Whether a model's attention takes prompt weights.

    Args:
        private: as secrets of the client, in fixed point; otherwise in float.
        prefixed: a prefix, public or of an adapter, comes before the prompt.

    Raises:
        ConfigError: it does not.
    """
    if prefixed:
        raise ConfigError("prompt weights: not after a prefix, whose own columns have none; leave one out")
    if config.patterns:
        raise ConfigError("prompt weights: not with patterns, which hide other columns from every head")
    if config.attention == "softmax" or (config.attention == "power" and not private):
        return
    if config.attention == "power":
        raise ConfigError(
            "prompt weights: power attention has them in the keys, and a private run would have to tell the "
            "server the weights, or pay for a product of secrets; only softmax takes them privately. In "
            "float (--local plain) power attention takes them, too"
        )
    raise ConfigError(f"prompt weights are for softmax and power attention, not for {config.attention}")
