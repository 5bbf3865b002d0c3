"""Gates and steps that compute another function than they say. The FSS conformance suite must reject them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Gate, Message, Shares, shape_only
from protocols.fss.executors.party import Party
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.opening import Open
from protocols.fss.preprocessing.correlations import Correlations
from protocols.fss.ring import shift_right, signed
from protocols.share import Share


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
