"""The proxy's routes: those of the OpenAI API that a private model can answer, and the chat page's.

POST /v1/chat/completions   GET /v1/models
POST /v1/completions        GET /v1/private/status
POST /v1/embeddings         GET /v1/private/seen
GET  /                      the page
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mpcinfer.benchmark.network import NETWORKS
from mpcinfer.models.public import PublicModel
from mpcinfer.proxy.answers import Answers, ChatAnswers, TextAnswers
from mpcinfer.proxy.api_errors import ApiError, api_error
from mpcinfer.proxy.bodies import (
    MAX_BODY_BYTES,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    Sampling,
    parsed,
)
from mpcinfer.proxy.generating import Finished, Generating, Piece
from mpcinfer.proxy.model_thread import Job, ModelThread
from mpcinfer.proxy.seen_bytes import SeenBytes
from mpcinfer.proxy.usage import bill_of, usage_of
from mpcinfer.turn import ChatModel, cost_between, cost_so_far
from parties.bill import BillRow
from parties.errors import MpcInferError

PAGE = Path(__file__).parent / "page"
LEFT_S = 0.5
"""How often it is looked whether whoever asked is still there."""


@dataclass(slots=True)
class Proxy:
    """What the routes share.

    Attributes:
        thread: has the session.
        public: the model's public part.
        plan: its name, for who asks; empty for a model in the clear.
        max_new_tokens: of an answer whose request does not say.
        total: what all requests took together.
    """

    thread: ModelThread
    public: PublicModel
    plan: str
    max_new_tokens: int
    seen: SeenBytes = field(default_factory=SeenBytes)
    total: BillRow = field(default_factory=lambda: BillRow(label="total"))
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def name(self) -> str:
        """What requests call the model."""
        return served_name(self.public)

    def app(self) -> Starlette:
        """The ASGI application, unguarded (`guard`)."""
        return Starlette(
            routes=[
                Route("/", _page),
                Mount("/page", StaticFiles(directory=PAGE)),
                Route("/v1/chat/completions", _answering(self.chat), methods=["POST"]),
                Route("/v1/completions", _answering(self.complete), methods=["POST"]),
                Route("/v1/embeddings", _answering(self.embed), methods=["POST"]),
                Route("/v1/models", _answering(self.models)),
                Route("/v1/models/{name:path}", _answering(self.models)),
                Route("/v1/private/status", _answering(self.status)),
                Route("/v1/private/seen", _answering(self.seen_bytes)),
                Route("/{path:path}", _answering(_nowhere), methods=["GET", "POST", "PUT", "DELETE"]),
            ]
        )

    async def chat(self, request: Request) -> Response:
        """An answer to a conversation."""
        body = parsed(ChatBody, await _document(request))
        messages = [message.plain() for message in body.messages]
        most = body.max_completion_tokens or body.max_tokens
        generating = self._generating(body, lambda public: public.tokenizer.chat(messages), most, keep=True)
        return await self._respond(request, generating, ChatAnswers(self.name))

    async def complete(self, request: Request) -> Response:
        """A text's continuation."""
        body = parsed(CompletionBody, await _document(request))
        generating = self._generating(body, lambda public: body.text, body.max_tokens, keep=False)
        return await self._respond(request, generating, TextAnswers(self.name))

    async def embed(self, request: Request) -> Response:
        """Vectors of texts."""
        body = parsed(EmbeddingBody, await _document(request))
        self._require_model(body.model)

        def work(model: ChatModel) -> tuple[np.ndarray, int, BillRow | None]:
            before = cost_so_far(model)
            vectors = model.embed(body.texts).numpy()
            tokens = sum(len(model.public.tokenizer.encode(text)) for text in body.texts)
            return vectors, tokens, cost_between(before, cost_so_far(model))

        vectors, tokens, cost = await _unless_left(request, self._run(work))
        self._add(cost)
        data = [
            {"object": "embedding", "index": number, "embedding": _written(vector, body.encoding_format)}
            for number, vector in enumerate(vectors)
        ]
        usage = usage_of(tokens, 0, cost)
        return JSONResponse({"object": "list", "data": data, "model": self.name, "usage": usage})

    async def models(self, request: Request) -> Response:
        """The one model, or what a client asks of it by name."""
        model = {
            "id": self.name,
            "object": "model",
            "created": self.started,
            "owned_by": "mpcinfer",
            "plan": self.plan,
            "digest": self.public.digest(),
        }
        if (name := request.path_params.get("name")) is None:
            return JSONResponse({"object": "list", "data": [model]})
        self._require_model(name)
        return JSONResponse(model)

    async def status(self, request: Request) -> Response:
        """What the page shows beside the conversation."""
        networks = [
            {
                "name": network.name,
                "latency_s": network.latency,
                "bytes_per_s": None if math.isinf(network.bandwidth) else network.bandwidth / 8,
                "setting": network.setting,
            }
            for network in NETWORKS.values()
        ]
        return JSONResponse(
            {
                "model": self.name,
                "plan": self.plan,
                "chat": self.public.tokenizer.chat_template is not None,
                "waiting": self.thread.waiting,
                "sessions": self.thread.sessions,
                "bill": bill_of(self.total),
                "networks": networks,
            }
        )

    async def seen_bytes(self, request: Request) -> Response:
        """The first bytes of the last request that the server saw."""
        return JSONResponse({"bytes": base64.b64encode(self.seen.read()).decode()})

    def _generating(
        self, body: Sampling, prompt: Callable[[PublicModel], str], most: int | None, *, keep: bool
    ) -> Generating:
        self._require_model(body.model)
        return Generating(prompt, body, most or self.max_new_tokens, keep)

    def _require_model(self, name: str) -> None:
        if name != self.name:
            message = f"no model {name!r} here, the server has {self.name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    async def _run(self, work: Callable[[ChatModel], Any]) -> Any:
        """Runs something in the model's thread."""
        job = Job(work)
        self.thread.submit(job)
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            job.leave()

    def _add(self, cost: BillRow | None) -> None:
        if cost is not None:
            self.total.add(cost)

    async def _respond(self, request: Request, generating: Generating, answers: Answers) -> Response:
        """The whole answer, or a stream of its pieces: then the first is waited for, so that what can go
        wrong before has a status of its own."""
        pieces = generating.stream(self.thread, self.seen)
        if not generating.sampling.stream:
            piece = await _unless_left(request, _last_of(pieces))
            self._add(piece.cost)
            usage = usage_of(piece.prompt_tokens, piece.new_tokens, piece.cost)
            return JSONResponse({**answers.whole(piece), "usage": usage})
        first = await anext(pieces)
        events = self._events(first, pieces, generating.sampling, answers)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _events(
        self,
        piece: Piece | Finished,
        pieces: AsyncGenerator[Piece | Finished],
        asked: Sampling,
        answers: Answers,
    ) -> AsyncGenerator[str]:
        """Server-sent events; an error in the middle is one of them."""
        options = asked.options
        try:
            yield _event(answers.opening())
            while isinstance(piece, Piece):
                bill = (
                    {"bill": bill_of(piece.cost)} if options.include_bill and piece.cost is not None else {}
                )
                yield _event({**answers.piece(piece.text), **bill})
                piece = await anext(pieces)
            self._add(piece.cost)
            yield _event(answers.end(piece.reason))
            if options.include_usage:
                usage = usage_of(piece.prompt_tokens, piece.new_tokens, piece.cost)
                yield _event({**answers.nothing(), "usage": usage})
        except MpcInferError as error:
            yield _event(api_error(error).document())
        except ApiError as error:
            yield _event(error.document())
        finally:
            await pieces.aclose()
        yield "data: [DONE]\n\n"


def served_name(public: PublicModel) -> str:
    """What requests call a model: its name, of a path the last part; `remote` where only its server knows."""
    return "remote" if "://" in public.name else Path(public.name).name


async def _last_of(pieces: AsyncGenerator[Piece | Finished]) -> Finished:
    """The end of an answer."""
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Finished):
                return piece
    raise AssertionError("an answer without an end")


ResultT = TypeVar("ResultT")


async def _unless_left(request: Request, working: Coroutine[Any, Any, ResultT]) -> ResultT:
    """What is worked out for a request; given up where whoever asked closes the connection.

    Raises:
        ApiError: 499, which nobody reads.
    """
    task = asyncio.ensure_future(working)
    try:
        while not (await asyncio.wait({task}, timeout=LEFT_S))[0]:
            if await request.is_disconnected():
                raise ApiError(499, "whoever asked has left")
        return task.result()
    finally:
        task.cancel()


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _written(vector: np.ndarray, form: str) -> list[float] | str:
    """A vector as numbers, or as base64 of little-endian float32."""
    if form == "float":
        return [float(number) for number in vector]
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


async def _document(request: Request) -> object:
    """The body of a request as JSON, of at most `MAX_BODY_BYTES`."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, f"a body has at most {MAX_BODY_BYTES:,} bytes", code="too_large")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON", code="malformed") from None


async def _page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def _nowhere(request: Request) -> Response:
    raise ApiError(404, f"nothing at {request.method} {request.url.path}", code="not_found")


def _answering(
    route: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose errors are answers."""

    async def answer(request: Request) -> Response:
        try:
            return await route(request)
        except MpcInferError as error:
            failed = api_error(error)
        except ApiError as error:
            failed = error
        headers = {} if failed.retry_s is None else {"retry-after": str(failed.retry_s)}
        return JSONResponse(failed.document(), failed.status, headers)

    return answer
