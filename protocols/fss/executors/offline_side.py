"""What a gate has at hand at a party, offline: its stream, the dealer's correlations, and the other party."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

import torch

from protocols.fss.preprocessing.encrypted import EncryptedProduct
from protocols.fss.preprocessing.matrix import Products


class OfflineSide(ABC):
    """A party before the input is known, as a gate sees it.

    Attributes:
        rank: whose step it is.
        products: the client's, with what it has of the weights.
        prepared: results for the online run, in order.
    """

    def __init__(self, rank: int, products: Products) -> None:
        self.rank, self.products = rank, products
        self.prepared: deque[torch.Tensor] = deque()

    @abstractmethod
    def draw(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """The next elements of this party's stream."""

    @abstractmethod
    def dealt(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """What the dealer sent the server: its next elements there, no data at the client."""

    @abstractmethod
    def send(self, arrays: Sequence[tuple[torch.Tensor, int]], reason: str) -> None:
        """To the other party, as offline traffic."""

    @abstractmethod
    def encrypted(self, product: EncryptedProduct, known: torch.Tensor) -> torch.Tensor:
        """This party's share of a mask times a weight; see `EncryptedProducts.share`."""

    @abstractmethod
    def receive(self, shape: tuple[int, ...], bits: int, reason: str) -> torch.Tensor:
        """From the other party, as offline traffic."""
