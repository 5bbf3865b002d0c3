"""A conversation with a chat model, turn by turn, however the model runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.answer import Answer, OnText
from mpcinfer.clear import ClearModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.speculation import Draft, Speculation, look_up
from parties.bill import BillRow

ChatModel = ClearModel | PrivateClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and its answer.

    Attributes:
        text: the answer, or the part of it that came before it was stopped.
        reason: why it ended: `stop`, `length`, `context`, or `stopped` by whoever asked.
        new_tokens: how many tokens the answer has.
        first_s: seconds until the first of them, the question's own pass included.
        later_s: seconds of all the others together.
        cost: what a private turn took, as its bill has it; None in the clear.
        speculation: how many drafts there were; None where none were asked for, and where the answer was
            stopped.
    """

    text: str
    reason: str
    new_tokens: int
    first_s: float
    later_s: float
    cost: BillRow | None
    speculation: Speculation | None = None


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
        watch, before = _Watch(on_text, stop), _cost(self._model)
        answer = self._complete(self._template(asked), watch)
        said = watch.text if answer is None else answer.text
        self._messages = [*asked, {"role": "assistant", "content": said}]
        after = _cost(self._model)
        return Turn(
            text=said,
            reason="stopped" if answer is None else answer.reason,
            new_tokens=watch.tokens if answer is None else len(answer.ids),
            first_s=watch.first_s,
            later_s=watch.later_s,
            cost=None if before is None or after is None else _difference(after, before),
            speculation=None if answer is None else answer.speculation,
        )

    def _complete(self, prompt: str, watch: _Watch) -> Answer | None:
        """The answer; None where it was stopped."""
        try:
            return self._model.complete(
                prompt,
                max_new_tokens=self._max_new_tokens,
                sampler=self._sampler,
                on_text=watch.tell,
                keep_cache=True,
                speculate=self._speculate,
                draft=self._draft,
            )
        except _Stopped:
            return None
        finally:
            watch.end()

    def _template(self, messages: list[dict[str, str]]) -> str:
        return self._model.public.tokenizer.chat(messages)


class _Stopped(Exception):
    """The answer is to end here."""


class _Watch:
    """What came when; and a way out between two tokens, when all parties are in step."""

    def __init__(self, on_text: OnText | None, stop: Callable[[], bool] | None) -> None:
        self._on_text, self._stop = on_text, stop
        self._started = self._last = time.perf_counter()
        self.text, self.tokens, self.first_s = "", 0, 0.0

    @property
    def later_s(self) -> float:
        """From the first token to the last, or to the end."""
        return self._last - self._started - self.first_s

    def tell(self, text: str) -> None:
        """For `complete`, after each token."""
        self._last = time.perf_counter()
        if not self.tokens:
            self.first_s = self._last - self._started
        self.text, self.tokens = text, self.tokens + 1
        if self._on_text is not None:
            self._on_text(text)
        if self._stop is not None and self._stop():
            raise _Stopped

    def end(self) -> None:
        """The answer is over; its stop token took time, too."""
        self._last = time.perf_counter()
        if not self.tokens:
            self.first_s = self._last - self._started


def _cost(model: ChatModel) -> BillRow | None:
    return model.bill_so_far().total if isinstance(model, PrivateClient) else None


def _difference(after: BillRow, before: BillRow) -> BillRow:
    """What came on top."""
    amounts: dict[str, int | float | None] = {}
    for field in dataclasses.fields(BillRow):
        if field.name not in ("label", "kind"):
            now, then = getattr(after, field.name), getattr(before, field.name)
            amounts[field.name] = now if now is None or then is None else now - then
    return BillRow(label=after.label, kind=after.kind, **amounts)  # pyright: ignore[reportArgumentType]
