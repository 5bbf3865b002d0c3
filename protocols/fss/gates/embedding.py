"""The client's token ids as a server-held one-hot matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch

from parties.meter import CLIENT, SERVER
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide, sum_of_draws
from protocols.fss.executors.gate import Gate, Message, Shares, shape_only
from protocols.fss.executors.offline_side import OfflineSide
from protocols.fss.executors.party_side import PartySide
from protocols.share import Held, Share
from protocols.typed_tokens import one_hot_rows


@final
class TokensToServerHeld(Gate):
    """One-hot rows of the client's ids: the client sends them minus a fresh uniform mask.

    They are [B, T, V], or [B, T, V + types - 1] of tokens that have types (`typed_tokens`).

    Args:
        ids: B times T, sequence after sequence, at the client and in the clear; None elsewhere.
        count: T.
        vocabulary: V.
        ring_bits: of the layer that reads them.
        batch: B.
        types: of tokens.

    Cost: 1 message to the server, ring_bits an entry of a row; no key.
    Reveals: how many tokens there are; the message is uniform.
    """

    reason: ClassVar[str] = "tokens"

    def __init__(
        self,
        ids: Sequence[int] | None,
        count: int,
        vocabulary: int,
        ring_bits: int,
        batch: int = 1,
        types: int = 1,
    ) -> None:
        self._ids, self._vocabulary, self._types = ids, vocabulary, types
        self._shape, self._ring_bits = (batch, count, vocabulary + types - 1), ring_bits

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return (Message((SERVER,), ((self._ring_bits, self._shape),)),)

    def outputs(self, *inputs: Share) -> Shares:
        return (shape_only(self._shape, 0, self._ring_bits, Held.SERVER_HELD),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        if party.rank == CLIENT:
            party.send([(self._one_hot() - party.prepared.popleft(), self._ring_bits)], self.reason)
            return self.outputs()
        (held,) = party.receive([(self._ring_bits, self._shape)], self.reason)
        return (Share(held, 0, self._ring_bits, Held.SERVER_HELD),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        mask = sum_of_draws(dealing.linear_streams[CLIENT:], self._shape, self._ring_bits)
        return (Share(mask, 0, self._ring_bits, Held.SERVER_HELD),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return (Share(self._one_hot(), 0, self._ring_bits, Held.SERVER_HELD),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        if preparation.rank == SERVER:
            return self.outputs()
        mask = preparation.draw(self._shape, self._ring_bits)
        preparation.prepared.append(mask)
        return (Share(mask, 0, self._ring_bits, Held.SERVER_HELD),)

    def _one_hot(self) -> torch.Tensor:
        assert self._ids is not None
        rows = one_hot_rows(torch.tensor(list(self._ids)), self._vocabulary, self._types)
        return rows.reshape(self._shape)
