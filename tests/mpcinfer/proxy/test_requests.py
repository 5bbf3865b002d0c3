"""What requests may ask for, strings that end an answer, and who may ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcinfer.proxy.api_errors import ApiError, api_error
from mpcinfer.proxy.bodies import ChatBody, CompletionBody, EmbeddingBody, parsed
from mpcinfer.proxy.guard import Guard
from mpcinfer.proxy.stop_strings import StopStrings
from parties.errors import ConfigError, CorrelationExhausted, PeerClosed, PeerTimeout, RangeError

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_what_asks_for_nothing_is_taken() -> None:
    neutral = {"n": 1, "logprobs": False, "presence_penalty": 0, "logit_bias": {}, "tools": None, "user": "u"}
    body = parsed(ChatBody, {**ASKED, **neutral, "response_format": {"type": "text"}, "temperature": None})
    assert body.messages[0].plain() == {"role": "user", "content": "hi"}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    said = parsed(ChatBody, {**ASKED, "messages": [{"role": "developer", "content": parts}]}).messages[0]
    assert said.plain() == {"role": "system", "content": "ab"}
    assert parsed(CompletionBody, {"model": "m", "prompt": "p", "stop": ["", "x"]}).stops == ["x"]
    assert parsed(CompletionBody, {"model": "m", "prompt": ["p"]}).text == "p"
    assert parsed(EmbeddingBody, {"model": "m", "input": "one"}).texts == ["one"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"a_new_one": 1}, "a_new_one"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"model": None}, "model"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"messages": [1] * 400_000}, "messages"),
        ({"messages": [{"role": "user", "content": [1] * 400_000}]}, "messages.0.content"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_it(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as raised:
        parsed(ChatBody, {**ASKED, **change})
    assert raised.value.status == 400
    assert str(raised.value.param).startswith(param)
    assert raised.value.document()["error"]["message"].startswith(param)


def test_a_body_is_an_object() -> None:
    for document in ([], "x", None, 3):
        with pytest.raises(ApiError, match="no JSON object"):
            parsed(ChatBody, document)


def test_errors_have_the_names_of_ours() -> None:
    kinds = [ConfigError, RangeError, CorrelationExhausted, PeerTimeout, PeerClosed]
    errors = [api_error(kind("why")) for kind in kinds]
    assert [error.status for error in errors] == [400, 422, 503, 504, 502]
    assert [error.retry_s is not None for error in errors] == [False, False, True, True, True]
    assert errors[1].document()["error"] == {
        "message": "RangeError: why",
        "type": "range_error",
        "param": None,
        "code": "RangeError",
    }


@given(st.lists(st.text("ab\n", max_size=4), max_size=8), st.lists(st.text("ab\n", min_size=1, max_size=3)))
def test_no_piece_of_a_stop_string_is_ever_shown(pieces: list[str], stops: list[str]) -> None:
    strings, text, shown = StopStrings(stops), "", ""
    for piece in pieces:
        text += piece
        now = strings.shown(text)
        assert now.startswith(shown)  # nothing is taken back
        shown = now
    at = min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))
    assert strings.shown(text, last=True) == text[:at]
    assert text[:at].startswith(shown)
    assert strings.found == any(stop in text for stop in stops)


def _asked(path: str, host: str, authorization: str | None) -> tuple[int, dict[bytes, bytes]]:
    """The status and headers of a guarded request."""
    sent: list[dict[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    headers = [(b"host", host.encode())]
    headers += [] if authorization is None else [(b"authorization", authorization.encode())]
    guard = Guard(behind, "the-token", {"127.0.0.1:1", "localhost:1"})
    scope = {"type": "http", "path": path, "headers": headers, "method": "GET"}
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_whoever_has_no_token_gets_nothing() -> None:
    right = "Bearer the-token"
    for host in ("127.0.0.1:1", "LOCALHOST:1"):
        assert _asked("/v1/models", host, right)[0] == 200
    assert _asked("/", "127.0.0.1:1", None)[0] == 200  # the page has no secrets
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer the-toke",
        "Bearer the-token2",
        "Basic the-token",
        "Bearer \xe4",
    ):
        assert _asked("/v1/models", "127.0.0.1:1", wrong)[0] == 401


def test_another_host_name_gets_nothing() -> None:
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:2", "evil.example:1", ""):
        for path in ("/", "/v1/models"):
            assert _asked(path, host, "Bearer the-token")[0] == 421
    assert b"content-security-policy" in _asked("/", "127.0.0.1:1", None)[1]
