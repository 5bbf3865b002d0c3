"""Openings: additive shares, or the server's masked values, become masked values that both parties know."""

from __future__ import annotations

from typing import ClassVar, final

from parties.meter import CLIENT, SERVER
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Correlations, Mask
from protocols.share import Held, Share


@final
class Open(Gate):
    """Additive shares, each plus a fresh uniform mask of its own ring, are sent both ways.

    Cost: 1 round; ring_bits an element each way; no key.
    Reveals: x + r, uniform: r is uniform on the ring in which it is opened.
    """

    reason: ClassVar[str] = "open"

    def correlations(self, *inputs: Share) -> Correlations:
        return {f"mask{i}": Mask(x.shape, x.ring_bits) for i, x in enumerate(inputs)}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*((x.ring_bits, x.shape) for x in inputs))

    def outputs(self, *inputs: Share) -> Shares:
        return tuple(shape_only(x.shape, x.frac_bits, x.ring_bits, Held.MASKED) for x in inputs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        masks = [party.mask(item) for item in self.correlations(*inputs).values()]
        masked = [(x.value + mask, x.ring_bits) for x, mask in zip(inputs, masks, strict=True)]
        opened = party.exchange(masked, self.reason)
        return tuple(
            Share(value, x.frac_bits, x.ring_bits, Held.MASKED)
            for value, x in zip(opened, inputs, strict=True)
        )

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        masks = [dealing.mask(item) for item in self.correlations(*inputs).values()]
        return tuple(
            Share(mask, x.frac_bits, x.ring_bits, Held.MASKED) for mask, x in zip(masks, inputs, strict=True)
        )

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return tuple(Share(x.value, x.frac_bits, x.ring_bits, Held.MASKED) for x in inputs)


@final
class OpenToClient(Gate):
    """The server sends values that it has whole and masked; each needs only the ring its readers use.

    Cost: 1 message to the client; ring_bits an element; no key.
    Reveals: x + r to the client, who does not know the server's summand of r.
    """

    reason: ClassVar[str] = "publish"

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return (Message((CLIENT,), tuple((x.ring_bits, x.shape) for x in inputs)),)

    def outputs(self, *inputs: Share) -> Shares:
        return tuple(shape_only(x.shape, x.frac_bits, x.ring_bits, Held.MASKED) for x in inputs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        if party.rank == SERVER:
            party.send([(x.value, x.ring_bits) for x in inputs], self.reason)
            values = [x.value for x in inputs]
        else:
            values = party.receive([(x.ring_bits, x.shape) for x in inputs], self.reason)
        return tuple(
            Share(value, x.frac_bits, x.ring_bits, Held.MASKED)
            for value, x in zip(values, inputs, strict=True)
        )

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        return tuple(Share(x.value, x.frac_bits, x.ring_bits, Held.MASKED) for x in inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return tuple(Share(x.value, x.frac_bits, x.ring_bits, Held.MASKED) for x in inputs)
