"""One party's half of a private run, from a link to opened logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from mpcinfer.backends.secure import SecureBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold_norms, folded_config
from mpcinfer.models.public import PublicModel
from protocols.arithmetic import Arithmetic
from protocols.plan import Plan
from protocols.registry import resolve
from protocols.share import Share
from protocols.weight import Weight


class PrivateSession:
    """A model on shares, with its KV cache; both parties hold one and step it together.

    Args:
        engine: this party's primitives, connected to the other party and to the dealer.
        plan: the same at both parties (the handshake saw to it).
        public: shape and ranges.
        weights: the server's weights in float; None at the client.
    """

    def __init__(
        self,
        engine: Arithmetic,
        plan: Plan,
        public: PublicModel,
        weights: Mapping[str, torch.Tensor] | None,
    ) -> None:
        config = public.config
        if plan.fold:
            if weights is not None:
                config, weights = fold_norms(config, weights)
            else:
                config = folded_config(config)
        backend = SecureBackend(engine, resolve(plan), config.vocabulary, public.ranges)
        self._session: Session[Share, Weight] = Session(
            Decoder(backend, config, backend.load(config, weights))
        )

    @property
    def length(self) -> int:
        """Tokens in the KV cache."""
        return self._session.cache.length

    @property
    def context(self) -> int:
        """The most tokens it can hold."""
        return self._session.decoder.config.context

    def restart(self) -> None:
        """Forgets all tokens; weights stay."""
        self._session.cache = KVCache()

    def advance(self, ids: Sequence[int] | None, count: int) -> torch.Tensor | None:
        """Runs `count` more tokens; logits [V] of the next token at the client, None at the server."""
        return self._session.advance(ids, count)
