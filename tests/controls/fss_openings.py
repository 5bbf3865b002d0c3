"""Openings without a mask, or under one that is not theirs. The FSS conformance suite must reject them.

They compute the right result, and are billed right: what is wrong is what they reveal.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.gate import Gate, Message, Shares, exchange
from protocols.fss.executors.party import Party
from protocols.fss.gates.comparison import IsNegative, share_below_mask
from protocols.fss.gates.opening import Open
from protocols.fss.preprocessing.correlations import Correlations, Dpf, Mask
from protocols.fss.ring import low, signed, top_bit
from protocols.share import Held, Share
from protocols.tensors import to_tensor


class Opening(Gate):
    """`Open`, with a mask that its negative controls draw in their own ways."""

    reason: ClassVar[str] = "open"

    def correlations(self, *inputs: Share) -> Correlations:
        return {f"mask{i}": Mask(x.shape, x.ring_bits) for i, x in enumerate(inputs)}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*((x.ring_bits, x.shape) for x in inputs))

    def outputs(self, *inputs: Share) -> Shares:
        return Open().outputs(*inputs)

    def run(self, party: Party, *inputs: Share) -> Shares:
        summands = [(x.value + mask, x.ring_bits) for x, mask in self._masked(party, *inputs)]
        opened = party.exchange(summands, self.reason)
        return self._results(list(opened), *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        return self._results([mask for _, mask in self._masked(dealing, *inputs)], *inputs)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        return Open().clear(clear, *inputs)

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        return [
            (x, executor.mask(item))
            for x, item in zip(inputs, self.correlations(*inputs).values(), strict=True)
        ]

    def _results(self, values: list[torch.Tensor], *inputs: Share) -> Shares:
        pairs = zip(values, inputs, strict=True)
        return tuple(Share(value, x.frac_bits, x.ring_bits, Held.MASKED) for value, x in pairs)


class ShortMask(Opening):
    """A mask with one bit less than what it masks."""

    def correlations(self, *inputs: Share) -> Correlations:
        return {f"mask{i}": Mask(x.shape, x.ring_bits - 1) for i, x in enumerate(inputs)}


class OneMaskForTwo(Opening):
    """Two values are opened under one mask."""

    def correlations(self, *inputs: Share) -> Correlations:
        return {"mask": Mask(inputs[0].shape, inputs[0].ring_bits)}

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        mask = executor.mask(self.correlations(*inputs)["mask"])
        return [(x, mask) for x in inputs]


class OneMaskForAll(Opening):
    """All elements are opened under one mask."""

    def correlations(self, *inputs: Share) -> Correlations:
        return {f"mask{i}": Mask((), x.ring_bits) for i, x in enumerate(inputs)}

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        return [(x, mask.expand(x.shape)) for x, mask in super()._masked(executor, *inputs)]


class EvenMask(Opening):
    """The lowest bit of the mask is always zero."""

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        return [(x, mask << 1) for x, mask in super()._masked(executor, *inputs)]


class Unmasked(Opening):
    """Opens the secret, and goes on only where one of them is negative."""

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        return [(x, 0 * mask) for x, mask in super()._masked(executor, *inputs)]

    def run(self, party: Party, *inputs: Share) -> Shares:
        opened = super().run(party, *inputs)
        if any(bool((signed(x.value, x.ring_bits) < 0).any()) for x in opened):
            party.exchange([(torch.zeros(1, dtype=torch.int64), 8)], "more")
        return opened


class BiasedBit(Gate):
    """`IsNegative` with a mask that is 1 in three of eight cases: the product of two bits at each party."""

    reason: ClassVar[str] = "negative"

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        return {"borrow": Dpf(x.shape, x.ring_bits - 1), "one": Mask(x.shape, 1), "other": Mask(x.shape, 1)}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return IsNegative().messages(*inputs)

    def outputs(self, *inputs: Share) -> Shares:
        return IsNegative().outputs(*inputs)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        borrow, one, other = self.correlations(x).values()
        mine = share_below_mask(party, borrow, low(x.value, x.ring_bits - 1))
        mine = mine ^ (party.mask(one) & party.mask(other))
        (opened,) = party.exchange([(mine, 1)], self.reason)
        return (Share(low(opened, 1) ^ top_bit(x.value, x.ring_bits), 0, 1, Held.MASKED),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        borrow, *bits = self.correlations(x).values()
        dealing.point_keys(borrow, low(x.value, x.ring_bits - 1))
        first, second = ([to_tensor(stream.ring(x.shape, 1)) for stream in dealing._streams] for _ in bits)
        fresh = (first[0] & second[0]) ^ (first[1] & second[1])
        return (Share(fresh ^ top_bit(x.value, x.ring_bits), 0, 1, Held.MASKED),)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        return IsNegative().clear(clear, *inputs)
