"""A prompt's answer, however the model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.generation import Predict, StopReason, complete, generate
from mpcinfer.models.public import PublicModel
from mpcinfer.prompts import prompt_ids, require_room
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.reading import require_head
from mpcinfer.sampling import Sampler
from mpcinfer.speculation import Speculation

OnText = Callable[[str], None]
"""Is told of the whole answer so far after each token, without an unfinished character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a prompt.

    Attributes:
        text: the answer without the prompt: what it adds to the prompt's text.
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
    public_prefix: PublicPrefix | None = None,
) -> Answer:
    """Runs the token loop over a text prompt.

    Args:
        context: the most tokens of prompt and answer; None for the model's.
        speculation: makes drafts, as `generate` wants it.
        public_prefix: comes before the prompt; `predict` is given its tokens, too.

    Raises:
        ConfigError: a prompt that is empty, no text, fills the context, or has a token that the model has
            not; a model that does not continue texts.
    """
    require_head(public, "vocabulary")
    asked = prompt_ids(public, prompt) if public_prefix is None else public_prefix.before(public, prompt)
    room = context or public.config.context
    require_room(len(asked), room, public.config.context)
    stream = public.tokenizer.stream(asked)

    def told(token: int) -> None:
        stream.feed(token)
        if on_text is not None:
            on_text(stream.text)

    tokens = generate(
        predict,
        asked,
        max_new_tokens=max_new_tokens,
        context=room,
        sampler=sampler,
        stop=public.tokenizer.stop,
        speculation=speculation,
    )
    done = complete(tokens, told)
    stream.finish()
    return Answer(text=stream.text, ids=done.ids, reason=done.reason, speculation=speculation)
