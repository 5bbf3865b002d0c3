"""Batched products of two secret matrices."""

from __future__ import annotations

from typing import ClassVar, final

from protocols.fss.clear import Clear
from protocols.fss.dealing import Dealing
from protocols.fss.gate import Gate, Shares, shape_only
from protocols.fss.material import Items, Shared
from protocols.fss.party import Party
from protocols.kernels.ring import ring_bmm
from protocols.share import Share


@final
class MatMul(Gate):
    """Masked [.., m, k] times masked [.., k, n], additive, in the ring of both: Beaver on masked values.

    With xh = x + A and yh = y + B: xy = xh yh - xh B - A yh + AB.

    Cost: no round, nothing online: both factors are opened already. Key: ring_bits an element of A, B and AB,
        to the server.
    Reveals: nothing.
    Source: Beaver (CRYPTO '91) with one correlation a matrix product.
    """

    reason: ClassVar[str] = "matmul"

    def items(self, *inputs: Share) -> Items:
        x, y = inputs
        ring = x.ring_bits
        assert ring == y.ring_bits
        result = (*x.shape[:-1], y.shape[-1])
        return {"left": Shared(x.shape, ring), "right": Shared(y.shape, ring), "both": Shared(result, ring)}

    def outputs(self, *inputs: Share) -> Shares:
        x, y = inputs
        return (shape_only((*x.shape[:-1], y.shape[-1]), x.frac_bits + y.frac_bits, x.ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        x, y = inputs
        left, right, both = (party.shared(item) for item in self.items(x, y).values())
        crossed = ring_bmm(x.value, right - y.value if party.first else right, x.ring_bits)
        value = both - crossed - ring_bmm(left, y.value, x.ring_bits)
        return (Share(value, x.frac_bits + y.frac_bits, x.ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        x, y = inputs
        values = (x.value, y.value, ring_bmm(x.value, y.value, x.ring_bits))
        for item, value in zip(self.items(x, y).values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(x, y)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        x, y = inputs
        exact = x.value.double() @ y.value.double()
        clear.check_magnitude(exact, x.ring_bits, x.frac_bits + y.frac_bits)
        value = ring_bmm(x.value, y.value)
        return (Share(value, x.frac_bits + y.frac_bits, x.ring_bits),)
