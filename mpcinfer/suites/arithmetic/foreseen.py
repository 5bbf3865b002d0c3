"""A private session on shapes alone: what a forward pass takes is known before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.generation import Session
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.sessions.session import rewind_cache
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.public_prefix import shared_prefix
from protocols.arithmetic.shape_arithmetic import ShapeArithmetic
from protocols.arithmetic.suite import Suite
from protocols.arithmetic.weight import Weight
from protocols.share import Share


class ForeseenSession:
    """Takes the same steps as a private session, on an executor that has shapes and no data.

    Args:
        executor: collects what a step takes.
        suite, config, ranges, batch: as in the session; ranges decide what a norm takes.
        public_prefix: tokens of a public prefix.
    """

    def __init__(
        self,
        executor: ShapeArithmetic,
        suite: Suite,
        config: ModelConfig,
        ranges: Mapping[str, float],
        batch: Batch,
        public_prefix: int = 0,
    ) -> None:
        backend = SecureBackend(executor, suite, config.vocabulary, ranges, batch, config.types)
        weights = backend.load(config, None)
        self._session: Session[Share, Weight] = Session(
            Decoder(backend, config, weights), shared_prefix(backend, config, public_prefix, batch.size, None)
        )

    @property
    def length(self) -> int:
        """Tokens after the steps so far."""
        return self._session.cache.length

    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        rewind_cache(self._session.cache, length)

    def step(self, tokens: int, rows: int = 1) -> None:
        """A pass of `tokens` tokens after those before it, `rows` of which get logits."""
        self._session.advance(None, tokens, rows)
