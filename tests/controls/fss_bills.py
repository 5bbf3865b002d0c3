"""Gates that declare other messages than they send. The FSS conformance suite must reject them."""

from __future__ import annotations

import torch

from parties.meter import SERVER
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.gate import Message, Shares
from protocols.fss.executors.party import Party
from protocols.fss.preprocessing.correlations import Shared
from protocols.share import Share
from tests.controls.fss_openings import Opening


class OneWayCounted(Opening):
    """Declares what the server sends alone."""

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return (Message((1 - SERVER,), tuple((x.ring_bits, x.shape) for x in inputs)),)


class RoundForgotten(Opening):
    """Declares one exchange and makes one for each value."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        values = [
            party.exchange([(x.value + mask, x.ring_bits)], self.reason)[0]
            for x, mask in self._masked(party, *inputs)
        ]
        return self._results(values, *inputs)


class DealerLeftOut(Opening):
    """Takes something from the dealer that it does not declare."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        party.shared(Shared((4,), 16))
        return super().run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        dealing.share(Shared((4,), 16), torch.zeros(4, dtype=torch.int64))
        return super().deal(dealing, *inputs)
