"""The proxy over a model in the clear, asked in this process; sessions that end are opened again."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from starlette.applications import Starlette

from mpcinfer.clear import ClearModel
from mpcinfer.models.load import load_model
from mpcinfer.proxy.app import PAGE, Proxy
from mpcinfer.proxy.bodies import MAX_BODY_BYTES, CompletionBody, parsed
from mpcinfer.proxy.generating import Generating, Piece
from mpcinfer.proxy.model_thread import Job, ModelThread
from mpcinfer.proxy.seen_bytes import SEEN_BYTES, SeenBytes
from mpcinfer.proxy.serving import token_of
from mpcinfer.turn import ChatModel
from parties.errors import ConfigError
from parties.wire import Frame
from tests.deadlines import HANG_S, until
from tests.mpcinfer.test_chat import TEMPLATE

PROMPT = "def area(self):"


def model_with_template() -> ClearModel:
    plain = load_model("tiny-python")
    tokenizer = dataclasses.replace(plain.tokenizer, chat_template=TEMPLATE)
    return ClearModel(dataclasses.replace(plain, tokenizer=tokenizer))


@pytest.fixture(scope="module")
def clear() -> ClearModel:
    return model_with_template()


@pytest.fixture
def proxy(clear: ClearModel) -> Generator[Proxy]:
    @contextmanager
    def open_model() -> Generator[ChatModel]:
        yield clear

    thread = ModelThread(open_model, most_waiting=2)
    yield Proxy(thread, thread.start(), "", 6)
    thread.close()


def asked(app: Starlette, ask: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=HANG_S) as client:
            return await ask(client)

    return asyncio.run(run())


def posted(proxy: Proxy, path: str, body: object) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asked(proxy.app(), lambda client: client.post(path, content=content))


def events(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_answers_are_the_model_s_and_streams_their_pieces(proxy: Proxy, clear: ClearModel) -> None:
    expected = clear.complete(PROMPT, max_new_tokens=6)
    body = {"model": "tiny-python", "prompt": PROMPT, "max_tokens": 6}
    whole = posted(proxy, "/v1/completions", body).json()
    assert whole["choices"][0]["text"] == expected.text
    assert whole["choices"][0]["finish_reason"] == "length"
    asked_tokens = len(clear.public.tokenizer.encode(PROMPT))
    assert whole["usage"] == {
        "prompt_tokens": asked_tokens,
        "completion_tokens": 6,
        "total_tokens": asked_tokens + 6,
    }
    stream = {**body, "stream": True, "stream_options": {"include_usage": True}}
    *pieces, end, usage = events(posted(proxy, "/v1/completions", stream))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == expected.text
    assert end["choices"][0]["finish_reason"] == "length"
    assert usage["usage"] == whole["usage"]
    assert usage["choices"] == []


def test_conversations(proxy: Proxy, clear: ClearModel) -> None:
    messages = [{"role": "user", "content": "x = 1"}]
    expected = clear.complete(clear.public.tokenizer.chat(messages), max_new_tokens=6).text
    body = {"model": "tiny-python", "messages": messages, "max_completion_tokens": 6}
    answer = posted(proxy, "/v1/chat/completions", body).json()["choices"][0]["message"]
    assert answer == {"role": "assistant", "content": expected}
    first, *rest = events(posted(proxy, "/v1/chat/completions", {**body, "stream": True}))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in rest) == expected


def test_a_stop_string_ends_an_answer_before_it(proxy: Proxy, clear: ClearModel) -> None:
    text = clear.complete(PROMPT, max_new_tokens=6).text
    stop = text[4:6]
    body = {"model": "tiny-python", "prompt": PROMPT, "max_tokens": 6, "stop": stop}
    choice = posted(proxy, "/v1/completions", body).json()["choices"][0]
    assert choice["text"] == text[: text.index(stop)]
    assert choice["finish_reason"] == "stop"
    pieces = events(posted(proxy, "/v1/completions", {**body, "stream": True}))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == choice["text"]


def test_the_same_seed_gives_the_same_answer(proxy: Proxy) -> None:
    body = {"model": "tiny-python", "prompt": PROMPT, "max_tokens": 6, "temperature": 1.5, "top_p": 0.9}
    one, other, third = (
        posted(proxy, "/v1/completions", {**body, "seed": seed}).json()["choices"][0]["text"]
        for seed in (5, 5, 6)
    )
    assert one == other != third


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/completions", b"{", 400, "no JSON"),
        ("/v1/completions", b"[" * 100_000, 400, "no JSON"),
        ("/v1/completions", b" " * (MAX_BODY_BYTES + 1), 413, "at most"),
        ("/v1/completions", {"model": "gpt-5", "prompt": "x"}, 404, "'tiny-python'"),
        ("/v1/completions", {"model": "tiny-python", "prompt": ""}, 400, "ConfigError"),
        ("/v1/completions", {"model": "tiny-python", "prompt": "x " * 5000}, 400, "ConfigError"),
        ("/v1/embeddings", {"model": "tiny-python", "input": "x"}, 400, "generate"),
        ("/v1/images", {}, 404, "nothing at POST /v1/images"),
    ],
)
def test_errors_have_a_status_and_a_reason(
    proxy: Proxy, path: str, body: object, status: int, says: str
) -> None:
    response = posted(proxy, path, body)
    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    streamed = posted(proxy, path, {**body, "stream": True}) if isinstance(body, dict) else response
    assert streamed.status_code == status or "stream" in streamed.text  # never 200


def test_models_and_status(proxy: Proxy) -> None:
    models = asked(proxy.app(), lambda client: client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["tiny-python"]
    assert asked(proxy.app(), lambda client: client.get("/v1/models/other")).status_code == 404
    status = asked(proxy.app(), lambda client: client.get("/v1/private/status")).json()
    assert (status["model"], status["chat"], status["waiting"]) == ("tiny-python", True, 0)
    for file in ("", *(f"page/{path.name}" for path in PAGE.iterdir())):
        assert asked(proxy.app(), lambda client, file=file: client.get(f"/{file}")).status_code == 200


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name


class _Vectors(ClearModel):
    """A model of texts: as much of one as embeddings ask for."""

    def __init__(self, clear: ClearModel) -> None:
        self.public = clear.public

    def embed(self, texts: Sequence[str], *, normalise: bool = True) -> torch.Tensor:
        return torch.tensor([[len(text), 0.5] for text in texts], dtype=torch.float64)


def test_vectors_come_as_numbers_or_as_base64(clear: ClearModel) -> None:
    @contextmanager
    def open_model() -> Generator[Any]:
        yield _Vectors(clear)

    thread = ModelThread(open_model, most_waiting=2)
    proxy = Proxy(thread, thread.start(), "", 6)
    body = {"model": "tiny-python", "input": ["ab", "abc"]}
    numbers = [each["embedding"] for each in posted(proxy, "/v1/embeddings", body).json()["data"]]
    assert numbers == [[2.0, 0.5], [3.0, 0.5]]
    coded = posted(proxy, "/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"]
    assert [np.frombuffer(base64.b64decode(each["embedding"]), "<f4").tolist() for each in coded] == numbers
    thread.close()


def test_a_request_whose_client_has_gone_ends(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server tells it: `http.disconnect` after the body."""
    monkeypatch.setattr("mpcinfer.proxy.app.LEFT_S", 0.001)
    body = json.dumps({"model": "tiny-python", "prompt": PROMPT, "max_tokens": 400}).encode()
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    sent = list[dict[str, Any]]()

    async def receive() -> Any:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "headers": [(b"host", b"x")],
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("x", 1),
    }
    asyncio.run(proxy.app()(scope, receive, send))
    assert sent[0]["status"] == 499
    assert until(lambda: proxy.thread.waiting == 0)


def test_too_many_requests_are_refused_with_a_hint(proxy: Proxy) -> None:
    go = threading.Event()
    jobs = [Job(lambda _: go.wait(HANG_S)) for _ in range(3)]
    for job in jobs:
        proxy.thread.submit(job)
    response = posted(proxy, "/v1/completions", {"model": "tiny-python", "prompt": PROMPT})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "5"
    go.set()
    assert all(job.done.result(HANG_S) for job in jobs)


def test_who_leaves_ends_the_answer(proxy: Proxy) -> None:
    body = parsed(CompletionBody, {"model": "tiny-python", "prompt": PROMPT})
    generating = Generating(lambda public: PROMPT, body, 200, keep_cache=False)

    async def leave() -> int:
        pieces: AsyncGenerator[Any] = generating.stream(proxy.thread, SeenBytes())
        assert isinstance(await anext(pieces), Piece)
        await pieces.aclose()
        return proxy.thread.waiting

    asyncio.run(leave())
    job = Job(lambda _: True)
    proxy.thread.submit(job)  # and the next is answered
    assert job.done.result(HANG_S)


def test_the_first_bytes_are_kept_and_no_more() -> None:
    seen = SeenBytes()
    seen.tell(Frame(b"", 0, "session.step", 0, (), (b"control",)))
    for number in range(3):
        seen.tell(Frame(b"", number, "embedding", 1, (), (bytes([number]) * 3000, b"\xff" * 10)))
    assert seen.read() == bytes(3000) + b"\xff" * 10 + b"\x01" * (SEEN_BYTES - 3010)
    seen.restart()
    assert seen.read() == b""


def test_a_token_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = token_of(file)
    assert (token, file.stat().st_mode & 0o777) == (token_of(file), 0o600)
    assert token_of(None) != token_of(None)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        token_of(file)
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="no token: 16"):
        token_of(file)
