"""What one service lets its clients take."""

from __future__ import annotations

from dataclasses import dataclass

from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a service; None for none.

    Attributes:
        sessions: at once, each in a worker process of its own.
        client_sessions: at once, of one client.
        waiting: sessions in the queue.
        client_waiting: in the queue, of one client.
        rate: new sessions a minute of one client.
        context: the most tokens that a client may ask a session to hold.
        prompt_tokens: of one pass.
        session_tokens: of all passes of a session together.
        session_s: seconds of a session.
        wait_s: seconds in the queue.
        accept_s: seconds that a worker waits for the party it was told of.
        memory_bytes: of a worker, beyond what it shares with others.
        drain_s: seconds that running sessions have once the service is told to end.

    Raises:
        ConfigError: a bound that lets nobody in.
    """

    sessions: int
    client_sessions: int | None = None
    waiting: int = 64
    client_waiting: int | None = None
    rate: float | None = None
    context: int | None = None
    prompt_tokens: int | None = None
    session_tokens: int | None = None
    session_s: float | None = None
    wait_s: float = 600.0
    accept_s: float = 30.0
    memory_bytes: int | None = None
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("sessions", "client_sessions", "client_waiting", "context", "prompt_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: at least 1, got {value}")
