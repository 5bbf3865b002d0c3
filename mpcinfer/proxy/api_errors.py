"""Errors as the OpenAI API writes them: a status, and a document with a message, a type and a parameter."""

from __future__ import annotations

from typing import Any

from parties.errors import (
    AdmissionRefused,
    ConfigError,
    CorrelationExhausted,
    HandshakeFailed,
    MpcInferError,
    PeerError,
    PeerTimeout,
    RangeError,
)


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        kind: the API's `type`.
        param: the parameter at fault.
        code: the API's `code`.
        retry_s: after how many seconds to try again, where that helps.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.param, self.code, self.retry_s = status, kind, param, code, retry_s

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def api_error(error: MpcInferError) -> ApiError:
    """What went wrong in a private run, by its own name."""
    name = type(error).__name__
    message = f"{name}: {error}"
    match error:
        case AdmissionRefused():
            retry_s = None if error.retry_s is None else max(1, round(error.retry_s))
            return ApiError(503, message, kind="server_error", code=error.reason, retry_s=retry_s)
        case ConfigError():
            return ApiError(400, message, code=name)
        case RangeError():
            return ApiError(422, message, kind="range_error", code=name)
        case CorrelationExhausted():
            return ApiError(503, message, kind="server_error", code=name, retry_s=10)
        case PeerTimeout():
            return ApiError(504, message, kind="server_error", code=name, retry_s=5)
        case PeerError() | HandshakeFailed():
            return ApiError(502, message, kind="server_error", code=name, retry_s=5)
        case _:
            return ApiError(500, message, kind="server_error", code=name)
