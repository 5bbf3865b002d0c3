"""Of how many sequences the passes of a session are: the client says it after the handshake."""

from __future__ import annotations

from collections.abc import Callable

from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.sessions.session_config import SessionConfig
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, Phase
from protocols.plan import Plan

_BATCH = "session.batch"


def agreed_batch(
    link: Link,
    session_config: SessionConfig,
    require: Callable[[Plan, ModelConfig, Batch], None] | None = None,
) -> Batch:
    """The client's batch, at both parties.

    Args:
        require: raises ConfigError for passes that the plan cannot run; None where it runs all that models
            allow.

    Raises:
        PeerMismatch: the client asks for such passes.
    """
    with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"):
        if link.rank == CLIENT:
            link.send_document(session_config.batch.to_document(), _BATCH)
            return session_config.batch
        document = link.recv_document(_BATCH, max_bytes=64)
    try:
        batch = Batch.from_document(document)
        batch.require_maskable(session_config.public.config)
        if require is not None:
            require(session_config.plan, session_config.public.config, batch)
    except ConfigError as error:
        raise PeerMismatch(f"the client asks for passes that cannot be run: {error}") from None
    return batch
