"""Gates that are broken in one way each; the FSS conformance suite must reject them.

Most compute the right result, and all but one are billed right: what is wrong is what they reveal, or when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import SERVER
from parties.wire import decode, unpack
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party import Party
from protocols.fss.gates.comparison import IsNegative, share_below_mask
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.opening import Open
from protocols.fss.preprocessing.correlations import Correlations, Dpf, Idpf, Mask, Packed, Shared
from protocols.fss.ring import low, shift_right, signed, top_bit
from protocols.fss.tables.cells import Cells
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


# -- bills ---------------------------------------------------------------------------------------------------


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


# -- the dealer, and the peer --------------------------------------------------------------------------------


class MaskHandedOut(Opening):
    """The server gets the input's mask from the dealer as it is, and could read a masked input."""

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        return {"mask0": Mask(x.shape, x.ring_bits), "told": Packed(x.value.numel())}

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, told = self.correlations(x).values()
        added, _ = party.mask(mask), list(party.packed(told, [told.size_bytes]))
        mine = x.value + added if party.first else added
        return self._results(party.exchange([(mine, x.ring_bits)], self.reason), x)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, told = self.correlations(x).values()
        added = dealing.mask(mask)
        known = low(x.value, 8).to(torch.uint8).reshape(-1).numpy()

        def tell(drawn: NDArray[np.uint8]) -> None:
            drawn[:] = known

        dealing.packed(told, [told.size_bytes], tell)
        return self._results([x.value + added], x)

    def _masked(self, executor: Party | Dealing, *inputs: Share) -> list[tuple[Share, torch.Tensor]]:
        raise AssertionError("has its own way")


class TrustsItsPeer(Opening):
    """Takes whatever frame comes next."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        mine = [(x.value + mask, x.ring_bits) for x, mask in self._masked(party, *inputs)]
        party.send(mine, self.reason)
        frame = decode(party.link.channel.recv())
        pairs = zip(frame.payload, frame.specs, strict=True)
        theirs = [to_tensor(unpack(buffer, spec)) for buffer, spec in pairs]
        return self._results([a + b for (a, _), b in zip(mine, theirs, strict=True)], *inputs)


# -- functions -----------------------------------------------------------------------------------------------


class LocalTruncation(Gate):
    """Each party divides its own additive share. Off by one at most, it says."""

    def __init__(self, drop: int) -> None:
        self._drop = drop

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, x.frac_bits - self._drop, x.ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        own = signed(x.value, x.ring_bits) >> self._drop
        return (Share(own, x.frac_bits - self._drop, x.ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        return self.outputs(*inputs)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        (x,) = inputs
        return (Share(x.value >> self._drop, x.frac_bits - self._drop, x.ring_bits),)


def both_round_down(executor: Executor, x: Share) -> Shares:
    """Shares that are cut before they are opened, the client's like the server's: low by a unit, mostly."""
    cut = executor.truncate(x, 3)
    if isinstance(executor, Party):
        cut = dataclasses.replace(cut, value=shift_right(x.value, 3, x.ring_bits))
    return executor.apply(Open(), cut)


class AliasedLookup(Gate):
    """exp of an index cut to fewer bits than it has: its table comes round again outside of them."""

    reason: ClassVar[str] = "exponential"

    def __init__(self, cut_bits: int) -> None:
        self._cut_bits = cut_bits
        self._cut, self._whole = (
            Exponential(ring_bits=16, frac_bits=6, index_bits=bits, index_frac=2, low=-1.0)
            for bits in (cut_bits, 8)
        )

    def correlations(self, *inputs: Share) -> Correlations:
        return self._cut.correlations(*self._short(*inputs))

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return self._cut.messages(*self._short(*inputs))

    def outputs(self, *inputs: Share) -> Shares:
        return self._cut.outputs(*inputs)

    def run(self, party: Party, *inputs: Share) -> Shares:
        return self._cut.run(party, *self._short(*inputs))

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        return self._cut.deal(dealing, *self._short(*inputs))

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        return self._whole.clear(clear, *inputs)

    def _short(self, *inputs: Share) -> Shares:
        return tuple(Share(x.value, x.frac_bits, self._cut_bits, x.held) for x in inputs)


class Altered(Gate):
    """A gate that its negative controls run in their own ways."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def correlations(self, *inputs: Share) -> Correlations:
        return self._gate.correlations(*inputs)

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return self._gate.messages(*inputs)

    def outputs(self, *inputs: Share) -> Shares:
        return self._gate.outputs(*inputs)

    def run(self, party: Party, *inputs: Share) -> Shares:
        return self._gate.run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        return self._gate.deal(dealing, *inputs)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        return self._gate.clear(clear, *inputs)


class SignForgotten(Altered):
    """Opens V = s T[i] and takes it for T[i]: the dealer shares 1 for the sign."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.point_keys

        def without_signs(item: Dpf, alpha: torch.Tensor) -> torch.Tensor:
            return honest(item, alpha).abs()

        with patch.object(dealing, "point_keys", without_signs):
            return super().deal(dealing, *inputs)


class RestForgotten(Altered):
    """`RangeReduction` without what a number lacks to its cell: the dealer's payload is zero."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.prefix_keys

        def without_rests(item: Idpf, alpha: torch.Tensor, payload: torch.Tensor) -> None:
            honest(item, alpha, torch.zeros_like(payload))

        with patch.object(dealing, "prefix_keys", without_rests):
            return super().deal(dealing, *inputs)


class PlaceForgotten(Altered):
    """A gate whose dealer takes the mask's place in its cell for the middle: a slope without effect, or exp
    of a whole cell."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = Cells.split

        def without_places(cells: Cells, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            cell, place = honest(cells, value)
            return cell, torch.full_like(place, 1 << (cells.rest_bits - 1))

        with patch.object(Cells, "split", without_places):
            return super().deal(dealing, *inputs)


class OneMaskForValueAndSlope(Altered):
    """`LineActivation` that opens a line's slope under the low bits of its value's mask."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        with patch.object(party, "mask", _first_mask_twice(party.mask)):
            return super().run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        with patch.object(dealing, "mask", _first_mask_twice(dealing.mask)):
            return super().deal(dealing, *inputs)


def _first_mask_twice(honest: Callable[[Mask], torch.Tensor]) -> Callable[[Mask], torch.Tensor]:
    """Hands out the first mask once more for the second."""
    drawn: list[torch.Tensor] = []

    def mask(item: Mask) -> torch.Tensor:
        drawn.append(drawn[0] if len(drawn) == 1 else honest(item))
        return drawn[-1]

    return mask


class WrapForgotten(Altered):
    """`Widen` as if no ring ever wrapped around: the dealer shares zeros."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.share

        def zeros(item: Shared, value: torch.Tensor) -> None:
            honest(item, torch.zeros_like(value))

        with patch.object(dealing, "share", zeros):
            return super().deal(dealing, *inputs)


class WrapOpened(Altered):
    """`Widen` without a fresh mask: what is opened says whether the ring wrapped around."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        honest = party.mask
        with patch.object(party, "mask", lambda item: 0 * honest(item)):
            return super().run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.mask
        with patch.object(dealing, "mask", lambda item: 0 * honest(item)):
            return super().deal(dealing, *inputs)


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
