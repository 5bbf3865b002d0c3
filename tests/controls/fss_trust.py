"""Gates that get, or take, what they should not. The FSS conformance suite must reject them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from parties.wire import decode, unpack
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.gate import Shares
from protocols.fss.executors.party import Party
from protocols.fss.preprocessing.correlations import Correlations, Mask, Packed
from protocols.fss.ring import low
from protocols.share import Share
from protocols.tensors import to_tensor
from tests.controls.fss_openings import Opening


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
