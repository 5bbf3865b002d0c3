"""Exact division by a power of two: rounds down, where probabilistic truncation may be one higher."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.executor import in_range
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.comparison import share_below_mask
from protocols.fss.gates.polynomial import Form, deal_product, evaluate_product, form_of, key_correlations
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlations, Dpf, Mask
from protocols.fss.ring import low
from protocols.share import Held, Share


@final
class TruncateExactly(Gate):
    """floor(x / 2^f) of a masked x, exactly, as an additive share in a ring of one's choice.

    1. A view of x with f bits dropped is floor(x / 2^f) + c, c = 1{xh mod 2^f < r mod 2^f}: the offset
       2^(n-2) of the view leaves the low f bits alone, since f <= n - 2. It needs |x| < 2^(n-2).
    2. The dealer hands out a key of a point function at r mod 2^f. Its prefix parity at xh mod 2^f gives the
       parties XOR shares of c, which they open as c xor m, m uniform.
    3. Each takes its share of the view (two shared elements) less its share of c (one, m).

    For a truncation that may round up, read a view by `Product`: the same without step 2.

    Args:
        drop: f, 1 to n - 2.
        ring_bits: of the result; may be wider or narrower than x's.

    Cost: 1 round; 1 bit an element each way. Key: that of a point function on f bits (see `Dpf`), and 3
        ring_bits to the server, less the n - f bits that a wrap saves.
    Reveals: c xor m, uniform because m is a fresh uniform bit.
    Source: docs/protocols.md, section 4.
    """

    reason: ClassVar[str] = "carry"

    def __init__(self, drop: int, ring_bits: int) -> None:
        self._drop, self._ring_bits = drop, ring_bits

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        view, bit = self._forms(x)
        return {
            "point": Dpf(x.shape, self._drop),
            "mask": Mask(x.shape, 1),
            **key_correlations("view", [view], self._ring_bits),
            **key_correlations("carry", [bit], self._ring_bits),
        }

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return exchange((1, x.shape))

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, x.frac_bits - self._drop, self._ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        assert x.held is Held.MASKED, f"{x!r} is not masked"
        point, mask, *_ = self.correlations(x).values()
        mine = share_below_mask(party, point, low(x.value, self._drop)) ^ party.mask(mask)
        (opened,) = party.exchange([(mine, 1)], self.reason)
        view, bit = self._forms(x)
        up = evaluate_product(party, [view], [coefficients(self._view(x))], self._ring_bits)
        carry = [coefficients(_as_bit(opened))]
        down = evaluate_product(party, [bit], carry, self._ring_bits)
        return (Share(up - down, x.frac_bits - self._drop, self._ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        point, mask, *_ = self.correlations(x).values()
        dealing.point_keys(point, low(x.value, self._drop))
        fresh = _as_bit(dealing.mask(mask))
        view, bit = self._forms(x)
        deal_product(dealing, [view], [secrets(self._view(x))], self._ring_bits)
        deal_product(dealing, [bit], [secrets(fresh)], self._ring_bits)
        return self.outputs(x)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        self._forms(x)  # that as many bits can be dropped
        in_range(x, 1, f"{clear.meter.label}: {self.reason}")
        return (Share(x.value >> self._drop, x.frac_bits - self._drop, self._ring_bits),)

    def _view(self, x: Share) -> Share:
        return Share(x.value, x.frac_bits - self._drop, x.ring_bits, x.held, self._drop)

    def _forms(self, x: Share) -> tuple[Form, Form]:
        if not 1 <= self._drop <= x.ring_bits - 2:
            raise ConfigError(
                f"of {x.ring_bits} bits, 1 to {x.ring_bits - 2} can be dropped: not {self._drop}"
            )
        return form_of(self._view(x)), Form(x.shape, True, (0,))


def _as_bit(value: torch.Tensor) -> Share:
    return Share(value, 0, 1, Held.MASKED)
