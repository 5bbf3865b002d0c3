"""A gate: one interactive step, as each of the four who run it sees it.

The same program runs four times over: at a party on what it holds, at the dealer on masks, in the clear on
the secrets themselves (the reference), and on shapes (the bill). A gate says what it does in each.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.offline_side import OfflineSide
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Correlations, Shape
from protocols.fss.preprocessing.encrypted import EncryptedProduct
from protocols.meta_tensors import no_data
from protocols.share import Held, Share

MOST_BITS = 64
"""Of a ring."""

Shares = tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A frame: who receives it, and width and shape of its arrays.

    Attributes:
        receivers: (SERVER,), (CLIENT,) or both, for an exchange.
        arrays: (bits, shape) each.
    """

    receivers: tuple[int, ...]
    arrays: tuple[tuple[int, Shape], ...]

    @property
    def payload_bytes(self) -> int:
        return sum((math.prod(shape) * bits + 7) // 8 for bits, shape in self.arrays)


def exchange(*arrays: tuple[int, Shape]) -> tuple[Message, ...]:
    """Both parties send arrays of these widths and shapes at once."""
    return (Message((SERVER, CLIENT), arrays),)


class Gate(ABC):
    """One step. A gate is made afresh for every use and holds public parameters only.

    Class attributes:
        reason: what its openings are called, in frame labels and in tests/openings.txt.
    """

    reason: ClassVar[str] = ""

    def correlations(self, *inputs: Share) -> Correlations:
        """What it takes from the dealer, in order."""
        return {}

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        """What is sent online, in order."""
        return ()

    def offline_messages(self, *inputs: Share) -> tuple[Message, ...]:
        """What is sent before the input is known, besides correlations: by the dealer, then by the client."""
        return ()

    def encrypted_product(self, *inputs: Share) -> EncryptedProduct | None:
        """The product that is made by encryption before the input is known, besides these; None for none."""
        return None

    @abstractmethod
    def outputs(self, *inputs: Share) -> Shares:
        """Shapes, rings and kinds of the results: shares on the `meta` device."""

    @abstractmethod
    def run(self, party: PartySide, *inputs: Share) -> Shares:
        """A party's online step."""

    @abstractmethod
    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        """The dealer's step: hands out the correlations, in order; returns the masks of the results."""

    @abstractmethod
    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        """The function itself, on the secrets."""

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        """A party's offline step. Most gates have none."""
        return self.outputs(*inputs)


def shape_only(
    shape: Shape, frac_bits: int, ring_bits: int, held: Held = Held.ADDITIVE, drop: int | None = None
) -> Share:
    """A share without data.

    Raises:
        ConfigError: more bits than a ring has.
    """
    if ring_bits > MOST_BITS:
        raise ConfigError(f"a result in a ring of {ring_bits} bits: rings have at most {MOST_BITS}")
    return Share(no_data(shape), frac_bits, ring_bits, held, drop)
