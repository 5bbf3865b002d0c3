"""Rows of a table that the client has in the clear, brought to the server masked."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide, sum_of_draws
from protocols.fss.executors.gate import Gate, Message, Shares, shape_only
from protocols.fss.executors.offline_side import OfflineSide
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.ring import signed
from protocols.share import Held, Share
from protocols.typed_tokens import rows_of


@final
class OwnTokens(Gate):
    """The client's ids [B, T] as additive shares: the client's summand is the ids, the server's is zero.

    Args:
        ids: B times T, sequence after sequence, at the client and in the clear; None elsewhere.
        count: T.
        vocabulary: V; ids are below it, or below V times the types where tokens have any (`typed_tokens`).
        batch: B.

    Cost: nothing.
    Reveals: nothing but T.
    """

    reason: ClassVar[str] = "own tokens"

    def __init__(self, ids: Sequence[int] | None, count: int, vocabulary: int, batch: int = 1) -> None:
        self._ids, self._shape, self._bits = ids, (batch, count), max(2, vocabulary.bit_length() + 1)

    def outputs(self, *inputs: Share) -> Shares:
        return (shape_only(self._shape, 0, self._bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        own = self._own() if party.rank == CLIENT else torch.zeros(self._shape, dtype=torch.int64)
        return (Share(own, 0, self._bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        return self.outputs()

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return (Share(self._own(), 0, self._bits),)

    def _own(self) -> torch.Tensor:
        assert self._ids is not None
        return torch.tensor(list(self._ids), dtype=torch.int64).reshape(self._shape)


@final
class PublicRows(Gate):
    """Rows [B, T, D] of a table that the client knows, masked at the server.

    1. The client looks up the rows of its ids and sends them plus a fresh uniform mask r1.
    2. The server adds its own r0: it has x + r0 + r1, as after a linear layer.

    Args:
        table: with its public copy at the client and in the clear; the result is in that copy's ring.
        types: of tokens; the table has a row more for each after the first.

    Inputs: the ids of `OwnTokens`.

    Raises:
        ConfigError: the table has no public copy.

    Cost: 1 message to the server, ring_bits an element of the rows; no key.
    Reveals: to the server nothing, the message is uniform. The client has got the whole table in the setup.
    """

    reason: ClassVar[str] = "rows"

    def __init__(self, table: Matrix, types: int = 1) -> None:
        if table.public is None:
            raise ConfigError(f"{table.name} is not public: the plan's embedding is private")
        self._table, self._public, self._types = table, table.public, types

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (y,) = self.outputs(*inputs)
        return (Message((SERVER,), ((y.ring_bits, y.shape),)),)

    def outputs(self, *inputs: Share) -> Shares:
        (ids,) = inputs
        shape, held = (*ids.shape, self._table.shape[1]), Held.SERVER_MASKED
        return (shape_only(shape, self._table.frac_bits, self._public.ring_bits, held),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (ids,), (y,) = inputs, self.outputs(*inputs)
        own = party.prepared.popleft()
        if party.rank == CLIENT:
            party.send([(self._rows(ids) + own, y.ring_bits)], self.reason)
            return (y,)
        (theirs,) = party.receive([(y.ring_bits, y.shape)], self.reason)
        return (Share(theirs + own, y.frac_bits, y.ring_bits, y.held),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (y,) = self.outputs(*inputs)
        mask = sum_of_draws(dealing.linear_streams, y.shape, y.ring_bits)
        return (Share(mask, y.frac_bits, y.ring_bits, y.held),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (ids,), (y,) = inputs, self.outputs(*inputs)
        return (Share(self._rows(ids), y.frac_bits, y.ring_bits, y.held),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        (y,) = self.outputs(*inputs)
        preparation.prepared.append(preparation.draw(y.shape, y.ring_bits))
        return (y,)

    def _rows(self, ids: Share) -> torch.Tensor:
        rows = rows_of(ids.value, self._public.value, self._types)
        return signed(rows.to(torch.int64), self._public.ring_bits)
