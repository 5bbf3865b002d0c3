"""A party's offline run: what can be computed of the linear layers before the input is known.

The client's masks of server-held values are input-independent, and so is its share of every linear layer. It
sends that share, masked, ahead of time; online the server alone computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch

from parties.link import Link
from parties.meter import SERVER, Meter
from parties.randomness import Randomness
from parties.wire import Spec
from protocols.fss.executors.executor import MaskMachine
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.offline_side import OfflineSide
from protocols.fss.preprocessing.encrypted import EncryptedProduct, EncryptedProducts
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Products
from protocols.meta_tensors import no_data
from protocols.share import Share
from protocols.tensors import drawn, to_tensor, to_words


class Offline(OfflineSide, MaskMachine):
    """Runs the offline step of gates. Only server-held values have data, and only at the client.

    Args:
        rank, products: as of `OfflineSide`.
    """

    def __init__(
        self, meter: Meter, rank: int, products: Products, *, exact_truncation: bool = False
    ) -> None:
        MaskMachine.__init__(self, meter, exact_truncation=exact_truncation)
        OfflineSide.__init__(self, rank, products)

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        return gate.prepare(self, *inputs)


@final
class Preparation(Offline):
    """One of the two parties, offline.

    Args:
        link: to the other party.
        correlations: the linear part of what the dealer sent for this run; empty at the client.
        stream: what this party draws for linear layers.
        exact_truncation: as in the online run.
        products: the client's products with its masked weights, some computed ahead; None computes them.
        encrypted: the session's products by encryption; None where this is its only run.
    """

    def __init__(
        self,
        link: Link,
        correlations: Reader,
        stream: Randomness,
        *,
        exact_truncation: bool = False,
        products: Products | None = None,
        encrypted: EncryptedProducts | None = None,
    ) -> None:
        assert link.rank is not None
        super().__init__(
            link.meter,
            link.rank,
            products or Products(lambda weight: weight.value),
            exact_truncation=exact_truncation,
        )
        self.link = link
        self._correlations, self._stream = correlations, stream
        self._encrypted = encrypted or EncryptedProducts(link)

    def draw(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        return drawn(self._stream, shape, bits)

    def dealt(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """See `Offline.dealt`; billed at both."""
        self.meter.charge_offline(SERVER, (math.prod(shape) * bits + 7) // 8)
        if self.rank != SERVER:
            return no_data(shape)
        return self._correlations.ring(shape, bits)

    def send(self, arrays: Sequence[tuple[torch.Tensor, int]], reason: str) -> None:
        words = [to_words(value) for value, _ in arrays]
        self.link.send(words, [bits for _, bits in arrays], f"{self.meter.label}/{reason}")

    def encrypted(self, product: EncryptedProduct, known: torch.Tensor) -> torch.Tensor:
        return self._encrypted.share(product, known)

    def receive(self, shape: tuple[int, ...], bits: int, reason: str) -> torch.Tensor:
        (array,) = self.link.recv([Spec(bits, shape)], f"{self.meter.label}/{reason}")
        return to_tensor(array)
