"""A party's online run."""

from __future__ import annotations

from collections import deque

import torch

from parties.link import Link
from parties.meter import SERVER
from parties.randomness import Randomness
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.ring import shift_right
from protocols.kernels.aes import Hash
from protocols.share import Held, Share


class Party(PartySide, Executor):
    """One of the two parties, online.

    Args:
        link, correlations, stream, hash, prepared: as of `PartySide`.
        exact_truncation: truncations are exact, by gates.
    """

    def __init__(
        self,
        link: Link,
        correlations: Reader,
        stream: Randomness,
        hash: Hash,
        prepared: deque[torch.Tensor],
        *,
        exact_truncation: bool = False,
    ) -> None:
        Executor.__init__(self, link.meter, exact_truncation=exact_truncation)
        PartySide.__init__(self, link, correlations, stream, hash, prepared)

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        self._taken = [0, 0]
        results = gate.run(self, *inputs)
        for receiver, count in enumerate(self._taken):
            self.meter.charge_offline(receiver, count)
        return results

    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        """Added by both to a masked value, by the server alone otherwise."""
        if self.rank != SERVER and a.held is not Held.MASKED:
            return a
        return Share(a.value + value, a.frac_bits, a.ring_bits, a.held)

    def add_at_client(self, a: Share, value: torch.Tensor | None) -> Share:
        if self.rank == SERVER:
            return super().add_at_client(a, value)
        assert value is not None, "the client knows what it adds"
        assert a.held is Held.ADDITIVE
        return Share(a.value + value, a.frac_bits, a.ring_bits)

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        if a.held is Held.SERVER_HELD and self.rank != SERVER:
            return a.value  # what the client knows of it was dealt with offline
        if a.held is Held.ADDITIVE and self.rank != SERVER:
            return -shift_right(-a.value, drop, a.ring_bits)
        return super()._shift(a, drop)
