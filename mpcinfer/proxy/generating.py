"""An answer for a request, made in the model's thread and told piece by piece to the request's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from mpcinfer.models.public import PublicModel
from mpcinfer.proxy.api_errors import ApiError
from mpcinfer.proxy.bodies import Sampling
from mpcinfer.proxy.model_thread import Job, ModelThread
from mpcinfer.proxy.seen_bytes import SeenBytes
from mpcinfer.proxy.stop_strings import StopStrings
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sampling import Sampler, make_sampler, seeded_uniform, system_uniform
from mpcinfer.turn import ChatModel, cost_between, cost_so_far, take_turn
from parties.bill import BillRow

LEFT = ApiError(503, "the answer was ended: its connection closed, or the proxy ends", kind="server_error")


@dataclass(frozen=True, slots=True)
class Piece:
    """More of an answer, and what the answer took so far; None in the clear."""

    text: str
    cost: BillRow | None


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer's end.

    Attributes:
        text: the whole answer.
        reason: `stop` or `length`, as the API has them.
    """

    text: str
    reason: str
    prompt_tokens: int
    new_tokens: int
    cost: BillRow | None


@dataclass(frozen=True, slots=True)
class Generating:
    """A request for an answer.

    Attributes:
        prompt: made of the model's tokenizer.
        keep_cache: the prompt is a conversation that may go on from the last one.
    """

    prompt: Callable[[PublicModel], str]
    sampling: Sampling
    max_new_tokens: int
    keep_cache: bool

    async def stream(self, thread: ModelThread, seen: SeenBytes) -> AsyncGenerator[Piece | Finished]:
        """Pieces as they come, and the end. Closing the generator ends the answer after the token at hand.

        Raises:
            ApiError: too many requests wait.
            MpcInferError: as `PrivateClient.complete`.
        """
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece | None]()

        def tell(piece: Piece | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def work(model: ChatModel) -> Finished:
            return self._answer(model, job, tell, seen)

        job = Job(work)
        thread.submit(job)
        job.done.add_done_callback(lambda _: tell(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield job.done.result()
        finally:
            job.leave()

    def _answer(
        self,
        model: ChatModel,
        job: Job,
        tell: Callable[[Piece | None], None],
        seen: SeenBytes,
    ) -> Finished:
        """In the model's thread."""
        if job.left.is_set():
            raise LEFT
        stops, shown, before = StopStrings(self.sampling.stops), "", cost_so_far(model)
        prompt = self.prompt(model.public)
        if isinstance(model, PrivateClient):
            seen.restart()
            model.watch_sent(seen.tell)

        def on_text(text: str) -> None:
            nonlocal shown
            more = stops.shown(text)
            job.begun = True
            tell(Piece(more[len(shown) :], cost_between(before, cost_so_far(model))))
            shown = more

        turn = take_turn(
            model,
            prompt,
            max_new_tokens=self.max_new_tokens,
            sampler=_sampler(self.sampling),
            on_text=on_text,
            stop=lambda: stops.found or job.left.is_set(),
            keep_cache=self.keep_cache,
        )
        if job.left.is_set() and turn.reason == "stopped":
            raise LEFT
        text = stops.shown(turn.text, last=True)
        if text != shown:
            tell(Piece(text[len(shown) :], turn.cost))
        reason = "stop" if turn.reason == "stop" or stops.found else "length"
        asked = len(model.public.tokenizer.encode(prompt))
        return Finished(text, reason, asked, turn.new_tokens, turn.cost)


def _sampler(asked: Sampling) -> Sampler:
    """The likeliest token where no temperature is given."""
    uniform = system_uniform if asked.seed is None else seeded_uniform(asked.seed)
    return make_sampler(
        temperature=asked.temperature or 0.0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        uniform=uniform,
    )
