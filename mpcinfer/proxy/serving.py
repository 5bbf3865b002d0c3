"""Listening on this machine alone, the token, and the loop that answers."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from mpcinfer.proxy.guard import Guard
from parties.errors import ConfigError

LOOPBACK = "127.0.0.1"


class _Server(uvicorn.Server):
    """Ends answers when it is told to end.

    Args:
        end_all: ends those at hand.
    """

    def __init__(self, config: uvicorn.Config, end_all: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_all = end_all

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._end_all()
        super().handle_exit(signal.SIGTERM, frame)  # a second Ctrl-C ends no sooner: sessions end in order


def serve(app: ASGIApp, at: socket.socket, token: str, end_all: Callable[[], None]) -> None:
    """Answers whoever has the token, until Ctrl-C or SIGTERM; `end_all` then ends what is at hand."""
    address = f"{LOOPBACK}:{at.getsockname()[1]}"
    guarded = Guard(app, token, {address, address.replace(LOOPBACK, "localhost")})
    config = uvicorn.Config(guarded, log_level="error", access_log=False, lifespan="off", ws="none")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    with suppress(KeyboardInterrupt):
        _Server(config, end_all).run(sockets=[at])


def listening(port: int) -> socket.socket:
    """A socket of this machine alone.

    Raises:
        ConfigError: something else listens there.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; --port 0 finds one"
        ) from None


def token_of(file: Path | None) -> str:
    """The token, from its file or new.

    Raises:
        ConfigError: others may read the file, or there is no token in it.
    """
    if file is None:
        return secrets.token_urlsafe(24)
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise ConfigError(f"{file}: others may read it; chmod 600") from None
        token = file.read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(r"[A-Za-z0-9_-]{16,}", token) is None:
            raise ConfigError(f"{file} has no token: 16 or more letters, digits, - and _") from None
        return token
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    with os.fdopen(opened, "w", encoding="utf-8") as writing:
        token = secrets.token_urlsafe(24)
        writing.write(token + "\n")
    return token
