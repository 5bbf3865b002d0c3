"""A prompt's answer, however the model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.generation import Predict, StopReason, complete, generate
from mpcinfer.models.public import PublicModel
from mpcinfer.reading import require_head
from mpcinfer.sampling import Sampler
from mpcinfer.speculation import Speculation

OnText = Callable[[str], None]
"""Is told of the whole answer so far after each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a prompt.

    Attributes:
        text: the answer without the prompt.
        ids: its token ids.
        reason: why it ended: a stop token, the length asked for, or the context.
        speculation: how many drafts there were; None where none were asked for.
    """

    text: str
    ids: tuple[int, ...]
    reason: StopReason
    speculation: Speculation | None = None


def answer(
    predict: Predict,
    public: PublicModel,
    prompt: str,
    max_new_tokens: int,
    sampler: Sampler,
    on_text: OnText | None,
    *,
    context: int | None = None,
    speculation: Speculation | None = None,
) -> Answer:
    """Runs the token loop over a text prompt.

    Args:
        context: the most tokens of prompt and answer; None for the model's.
        speculation: makes drafts, as `generate` wants it.

    Raises:
        ConfigError: an empty prompt, one that fills the context, or a model that does not continue texts.
    """
    require_head(public, "vocabulary")
    tokenizer, ids = public.tokenizer, list[int]()

    def told(token: int) -> None:
        ids.append(token)
        if on_text is not None:
            on_text(tokenizer.decode(ids))

    tokens = generate(
        predict,
        tokenizer.encode(prompt),
        max_new_tokens=max_new_tokens,
        context=context or public.config.context,
        sampler=sampler,
        stop=tokenizer.stop,
        speculation=speculation,
    )
    done = complete(tokens, told)
    text = tokenizer.decode(done.ids)
    return Answer(text=text, ids=done.ids, reason=done.reason, speculation=speculation)
