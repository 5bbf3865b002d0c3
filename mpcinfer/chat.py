"""A conversation with a chat model, turn by turn, however the model runs."""

from __future__ import annotations

from collections.abc import Callable

from mpcinfer.answer import OnText
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.speculation import Draft, look_up
from mpcinfer.turn import ChatModel, Turn, take_turn


class Conversation:
    """Remembers what was said, so that each turn is asked in the light of those before.

    The model gets the whole conversation in its chat template each time; tokens of it that its KV cache still
    has from the turns before are not run again.

    Args:
        model: with a chat template.
        system: how the model is told to behave; None for what its template says by itself.
        max_new_tokens: of an answer.
        speculate, draft: as for `PrivateClient.complete`.

    Raises:
        ConfigError: the model has no chat template.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        system: str | None = None,
        max_new_tokens: int = 128,
        sampler: Sampler = greedy,
        speculate: int = 0,
        draft: Draft = look_up,
    ) -> None:
        self._model, self._max_new_tokens, self._sampler = model, max_new_tokens, sampler
        self._speculate, self._draft = speculate, draft
        self._opening = [] if system is None else [{"role": "system", "content": system}]
        self._messages = list(self._opening)
        self._template([*self._messages, {"role": "user", "content": "?"}])

    @property
    def max_new_tokens(self) -> int:
        """The most tokens of an answer."""
        return self._max_new_tokens

    @property
    def turns(self) -> int:
        """Questions that were answered."""
        return sum(message["role"] == "user" for message in self._messages)

    def forget(self) -> None:
        """Starts afresh; the next question is the first again."""
        self._messages = list(self._opening)

    def ask(
        self, text: str, *, on_text: OnText | None = None, stop: Callable[[], bool] | None = None
    ) -> Turn:
        """Asks and waits for the answer. Where that fails, the conversation is as it was before.

        Args:
            on_text: is told of the whole answer so far after each token.
            stop: asked after each token whether to leave it at that; what has come is kept.

        Raises:
            ConfigError: an empty question, or no room for it and an answer.
            CorrelationExhausted, PeerError: as `PrivateClient.complete`.
        """
        asked = [*self._messages, {"role": "user", "content": text}]
        turn = take_turn(
            self._model,
            self._template(asked),
            max_new_tokens=self._max_new_tokens,
            sampler=self._sampler,
            on_text=on_text,
            stop=stop,
            speculate=self._speculate,
            draft=self._draft,
        )
        self._messages = [*asked, {"role": "assistant", "content": turn.text}]
        return turn

    def _template(self, messages: list[dict[str, str]]) -> str:
        return self._model.public.tokenizer.chat(messages)
