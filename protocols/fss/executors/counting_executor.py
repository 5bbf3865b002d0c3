"""The bill: the same program on shapes."""

from __future__ import annotations

from typing import final

import torch

from parties.counted_link import CountedLink
from parties.meter import CLIENT, SERVER, Meter, Phase
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Message, Shares
from protocols.fss.preprocessing.correlations import sent_bytes
from protocols.fss.preprocessing.encrypted import EncryptedCosts
from protocols.share import Share


@final
class Counting(Executor):
    """Charges what gates declare. Shares have no data; the bill has no wire bytes and no seconds.

    Args:
        meter: made with `timed=False`.

    Attributes:
        encrypted: what products by encryption sent, of all that was counted.
    """

    def __init__(self, meter: Meter, *, exact_truncation: bool = False) -> None:
        super().__init__(meter, exact_truncation=exact_truncation)
        self._link, self.encrypted = CountedLink(meter), EncryptedCosts()

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        server, client = sent_bytes(gate.correlations(*inputs))
        self.meter.charge_offline(SERVER, server)
        self.meter.charge_offline(CLIENT, client)
        with self.meter.phase(Phase.OFFLINE):
            if (product := gate.encrypted_product(*inputs)) is not None:
                for receiver, size in enumerate(self.encrypted.count(product)):
                    if size:
                        self._link.send(size, receiver)
            for message in gate.offline_messages(*inputs):
                self.send(message)
        for message in gate.messages(*inputs):
            self.send(message)
        return gate.outputs(*inputs)

    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        return a

    def send(self, message: Message) -> None:
        """Books a message."""
        self._link.send(message.payload_bytes, *message.receivers)
