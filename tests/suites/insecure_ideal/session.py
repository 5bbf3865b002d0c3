"""A session on the ideal functionality: a handshake, and then steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch

from mpcinfer.generation import Session
from mpcinfer.models.config import weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig, greet
from parties.link import Link
from parties.meter import CLIENT
from tests.suites.insecure_ideal.backend import InsecureIdealBackend
from tests.suites.insecure_ideal.functionality import InsecureParty


class InsecureIdealSession(PrivateSession):
    """Nothing is prepared: there is nothing to prepare."""

    def __init__(self, link: Link, session_config: SessionConfig) -> None:
        config, weights = as_run(
            session_config.public.config, session_config.weights, folds=session_config.plan.fold
        )
        backend = InsecureIdealBackend(InsecureParty(link), client=link.rank == CLIENT)
        if weights is None:
            loaded = {
                name: torch.empty(shape, device="meta") for name, shape in weight_shapes(config).items()
            }
        else:
            loaded = backend.load(weights)
        self._session = Session(Decoder(backend, config, loaded))

    @property
    def length(self) -> int:
        return self._session.cache.length

    @property
    def context(self) -> int:
        return self._session.decoder.config.context

    @property
    def notes(self) -> list[str]:
        return ["INSECURE: the server saw every value"]

    def rewind(self, length: int) -> None:
        self._session.rewind(length)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        return self._session.advance(ids, count, rows)


@contextmanager
def insecure_session(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """A party's session after the handshake with the other."""
    greet(link, session_config.plan.digest(), session_config.public.digest())
    yield InsecureIdealSession(link, session_config)
