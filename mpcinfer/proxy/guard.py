"""Who may ask: whoever has the token, on this machine, for this host's name."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mpcinfer.proxy.api_errors import ApiError

SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuses requests under another host name, which a page elsewhere can be made to send (DNS rebinding),
    and requests to the API without the token.

    Args:
        app: what is guarded.
        token: goes with every request under `/v1/`, as `Authorization: Bearer`.
        hosts: names with ports under which this server is reached.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        self._app, self._token, self._hosts = app, token.encode(), frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        else:
            await JSONResponse(refusal.document(), refusal.status)(scope, receive, _with_headers(send))

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        if headers.get("host", "").lower() not in self._hosts:
            return ApiError(421, "the proxy answers to localhost and 127.0.0.1 only", code="wrong_host")
        if not path.startswith("/v1/"):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._token):
            return ApiError(
                401,
                "no token, or another than the proxy printed when it started: api_key=... of a client, "
                "Authorization: Bearer ... otherwise",
                kind="authentication_error",
                code="invalid_api_key",
            )
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: dict[str, object]) -> None:  # ASGI's own type is as wide
        if message["type"] == "http.response.start":
            given = message.get("headers")
            headers = list(given) if isinstance(given, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            message = {**message, "headers": [*headers, *SECURITY_HEADERS]}
        await send(message)

    return sending  # pyright: ignore[reportReturnType]
