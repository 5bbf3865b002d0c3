"""One question's answer, with what it took, however the model runs; it can be ended between two tokens."""

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


def take_turn(
    model: ChatModel,
    prompt: str,
    *,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    on_text: OnText | None = None,
    stop: Callable[[], bool] | None = None,
    keep_cache: bool = True,
    speculate: int = 0,
    draft: Draft = look_up,
) -> Turn:
    """A prompt's answer, and what it cost.

    Args:
        on_text: is told of the whole answer so far after each token.
        stop: asked after each token whether to leave it at that; what has come is kept.
        others: as for `PrivateClient.complete`, whose errors it raises.
    """
    watch, before = _Watch(on_text, stop), cost_so_far(model)
    answer: Answer | None = None
    try:
        answer = model.complete(
            prompt,
            max_new_tokens=max_new_tokens,
            sampler=sampler,
            on_text=watch.tell,
            keep_cache=keep_cache,
            speculate=speculate,
            draft=draft,
        )
    except _Stopped:
        pass
    finally:
        watch.end()
    return Turn(
        text=watch.text if answer is None else answer.text,
        reason="stopped" if answer is None else answer.reason,
        new_tokens=watch.tokens if answer is None else len(answer.ids),
        first_s=watch.first_s,
        later_s=watch.later_s,
        cost=cost_between(before, cost_so_far(model)),
        speculation=None if answer is None else answer.speculation,
    )


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


def cost_so_far(model: ChatModel) -> BillRow | None:
    """What the session has taken up to now; None in the clear."""
    return model.bill_so_far().total if isinstance(model, PrivateClient) else None


def cost_between(before: BillRow | None, after: BillRow | None) -> BillRow | None:
    """What came on top."""
    if before is None or after is None:
        return None
    amounts: dict[str, int | float | None] = {}
    for field in dataclasses.fields(BillRow):
        if field.name not in ("label", "kind"):
            now, then = getattr(after, field.name), getattr(before, field.name)
            amounts[field.name] = now if now is None or then is None else now - then
    return BillRow(label=after.label, kind=after.kind, **amounts)  # pyright: ignore[reportArgumentType]
