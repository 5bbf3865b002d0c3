"""A masked value into a wider ring: only the bits above its own ring are opened."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.executor import in_range
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlations, Mask, Shared
from protocols.share import Held, Share


@final
class Widen(Gate):
    """Masked values of rings of n bits in rings of m, under masks whose low n bits they keep.

    As a view, x = p - r + 2^n u w with w the mask's top bit and u public (`polynomial`). So with a fresh
    uniform s of m - n bits

        x + (r + 2^n s)  =  p + 2^n (u w + s)  modulo 2^m,

    where r + 2^n s is uniform on the wide ring. The parties open u w + s: the low bits are public already.

    Args:
        ring_bits: m of every input, wider than its own ring.

    Inputs: masked values, not views, with a bit of slack: |x| < 2^(n-2).

    Cost: 1 round; m - n bits an element each way. Key: m - n bits an element to the server.
    Reveals: u w + s, uniform because s is a fresh uniform element of that ring.
    Source: the wrap term of a view (docs/protocols.md, section 4), opened by itself.
    """

    reason: ClassVar[str] = "widen"

    def __init__(self, *ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def correlations(self, *inputs: Share) -> Correlations:
        correlations: Correlations = {}
        for i, (x, bits) in enumerate(zip(inputs, self._above(*inputs), strict=True)):
            correlations |= {f"wrap{i}": Shared(x.shape, bits), f"mask{i}": Mask(x.shape, bits)}
        return correlations

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*((bits, x.shape) for x, bits in zip(inputs, self._above(*inputs), strict=True)))

    def outputs(self, *inputs: Share) -> Shares:
        pairs = zip(inputs, self._ring_bits, strict=True)
        return tuple(shape_only(x.shape, x.frac_bits, bits, Held.MASKED) for x, bits in pairs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        correlations, public, tops = (
            self.correlations(*inputs),
            list[torch.Tensor](),
            list[tuple[torch.Tensor, int]](),
        )
        for i, (x, bits) in enumerate(zip(inputs, self._above(*inputs), strict=True)):
            p, _, u = coefficients(_view(x))
            assert isinstance(p, torch.Tensor)
            public.append(p)
            tops.append(
                (u * party.shared(correlations[f"wrap{i}"]) + party.mask(correlations[f"mask{i}"]), bits)
            )
        opened = party.exchange(tops, self.reason)
        results = zip(inputs, public, opened, self._ring_bits, strict=True)
        return tuple(
            Share(p + (top << x.ring_bits), x.frac_bits, bits, Held.MASKED) for x, p, top, bits in results
        )

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        correlations, results = self.correlations(*inputs), list[Share]()
        for i, (x, bits) in enumerate(zip(inputs, self._ring_bits, strict=True)):
            mask, wrap = secrets(_view(x))
            dealing.share(correlations[f"wrap{i}"], wrap >> x.ring_bits)
            top = dealing.mask(correlations[f"mask{i}"])
            results.append(Share(mask + (top << x.ring_bits), x.frac_bits, bits, Held.MASKED))
        return tuple(results)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        self._above(*inputs)
        pairs = zip(inputs, self._ring_bits, strict=True)
        checked = [(in_range(x, 1, f"{clear.meter.label}: {self.reason}"), bits) for x, bits in pairs]
        return tuple(Share(x.value, x.frac_bits, bits, Held.MASKED) for x, bits in checked)

    def _above(self, *inputs: Share) -> list[int]:
        """Bits above each input's ring."""
        result: list[int] = []
        for x, bits in zip(inputs, self._ring_bits, strict=True):
            assert x.held is Held.MASKED
            assert x.drop is None
            if not 2 <= x.ring_bits < bits <= 64:
                raise ConfigError(f"a ring of {x.ring_bits} bits does not widen to {bits}")
            result.append(bits - x.ring_bits)
        return result


def _view(x: Share) -> Share:
    return Share(x.value, x.frac_bits, x.ring_bits, x.held, 0)
