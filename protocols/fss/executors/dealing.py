"""The dealer's run: walks the program on masks, and writes what each gate needs."""

from __future__ import annotations

from typing import final

from parties.meter import Meter
from parties.randomness import Randomness
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.executor import MaskMachine
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.matrix import Products
from protocols.kernels.aes import Hash
from protocols.share import Share


@final
class Dealing(DealerSide, MaskMachine):
    """The dealer.

    Args:
        meter: its spans only.
        writers, linear, streams, linear_streams, hash, products: as of `DealerSide`.
        exact_truncation: truncations are exact, by gates.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        writers: tuple[Writer, Writer],
        linear: Writer,
        streams: tuple[Randomness, Randomness],
        linear_streams: tuple[Randomness, Randomness],
        hash: Hash,
        products: Products,
        exact_truncation: bool = False,
    ) -> None:
        MaskMachine.__init__(self, meter, exact_truncation=exact_truncation)
        DealerSide.__init__(
            self,
            writers=writers,
            linear=linear,
            streams=streams,
            linear_streams=linear_streams,
            hash=hash,
            products=products,
        )

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        return gate.deal(self, *inputs)
