"""A prompt's answer, however the model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.generation import Step, StopReason, complete, generate
from mpcinfer.models.public import PublicModel
from mpcinfer.sampling import Sampler

OnText = Callable[[str], None]
"""Is told of the whole answer so far after each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a prompt.

    Attributes:
        text: the answer without the prompt.
        ids: its token ids.
        reason: why it ended: a stop token, the length asked for, or the context.
    """

    text: str
    ids: tuple[int, ...]
    reason: StopReason


def answer(
    step: Step,
    public: PublicModel,
    prompt: str,
    max_new_tokens: int,
    sampler: Sampler,
    on_text: OnText | None,
    *,
    context: int | None = None,
) -> Answer:
    """Runs the token loop over a text prompt.

    Args:
        context: the most tokens of prompt and answer; None for the model's.

    Raises:
        ConfigError: an empty prompt, or one that fills the context.
    """
    tokenizer, ids = public.tokenizer, list[int]()

    def told(token: int) -> None:
        ids.append(token)
        if on_text is not None:
            on_text(tokenizer.decode(ids))

    tokens = generate(
        step,
        tokenizer.encode(prompt),
        max_new_tokens=max_new_tokens,
        context=context or public.config.context,
        sampler=sampler,
        stop=tokenizer.stop,
    )
    done = complete(tokens, told)
    return Answer(text=tokenizer.decode(done.ids), ids=done.ids, reason=done.reason)
