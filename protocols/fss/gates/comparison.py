"""Whether a masked value is negative, as a bit that both parties know masked."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Correlation, Correlations, Dpf, Mask
from protocols.fss.preprocessing.point_keys import PointKeys, read_all
from protocols.fss.ring import low, top_bit
from protocols.share import Held, Share
from protocols.tensors import to_words


def share_below_mask(party: PartySide, item: Correlation, point: torch.Tensor) -> torch.Tensor:
    """This party's XOR share, 0 or 1, of whether a public point lies below the point of its key.

    Args:
        party: takes the keys of `item` from its correlations.
        item: a `Dpf` of the points' shape.
        point: public, from 0 to below 2^(the item's bits).
    """
    points = to_words(point.reshape(1, -1))

    def read(keys: PointKeys, part: slice) -> list[torch.Tensor]:
        return [torch.from_numpy(keys.prefix_parity(points[:, part])[0]).to(torch.int64)]

    (at_most,) = read_all(party.point_keys(item), points.size, read)
    return at_most.reshape(point.shape) ^ party.first


@final
class IsNegative(Gate):
    """Whether a masked x is negative: a bit d, opened as d xor m, for `Product` to multiply with.

    1. With xh = x + r in Z_2^k, h(v) the top bit of v and l(v) the rest, d = h(xh) xor h(r) xor c, where
       c = 1{l(xh) < l(r)} is what the subtraction xh - r borrows.
    2. The dealer hands out a key of a point function at l(r), on k - 1 bits. Its prefix parity at l(xh) gives
       each party an XOR share of c.
    3. Parties draw a bit each, together m'. They open c xor m' and add the public h(xh). The result
       is d xor m with m = m' xor h(r), which the dealer knows: h(r) itself needs no share.

    Cost: 1 round; 1 bit an element each way. Key: that of a point function on k - 1 bits (see `Dpf`); reduce
        a small x to a narrow ring first, which is free.
    Reveals: c xor m', uniform because m' is a fresh uniform bit.
    Source: docs/protocols.md, section 5; prefix parities are those of Grotto (CCS 2023).
    """

    reason: ClassVar[str] = "negative"

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        if x.ring_bits < 2:
            raise ConfigError(f"a sign needs a ring of 2 bits at least, got {x.ring_bits}")
        return {"borrow": Dpf(x.shape, x.ring_bits - 1), "mask": Mask(x.shape, 1)}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return exchange((1, x.shape))

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, 0, 1, Held.MASKED),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        assert x.held is Held.MASKED, f"{x!r} is not masked"
        borrow, mask = self.correlations(x).values()
        mine = share_below_mask(party, borrow, low(x.value, x.ring_bits - 1)) ^ party.mask(mask)
        (opened,) = party.exchange([(mine, 1)], self.reason)
        bit = low(opened, 1) ^ top_bit(x.value, x.ring_bits)
        return (Share(bit, 0, 1, Held.MASKED),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        borrow, mask = self.correlations(x).values()
        dealing.point_keys(borrow, low(x.value, x.ring_bits - 1))
        fresh = low(dealing.mask(mask), 1)
        return (Share(fresh ^ top_bit(x.value, x.ring_bits), 0, 1, Held.MASKED),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        return (Share((x.value < 0).to(torch.int64), 0, 1, Held.MASKED),)
