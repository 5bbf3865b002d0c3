"""Tables of random entries of which the server knows all and the client one, packed."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np
import torch

from parties.meter import SERVER
from protocols.two_party.correlations import ENTRY_BITS, TABLE_SIZE
from protocols.two_party.recipe import Costs, Maker, Recipe

_TOGETHER = 1 << 18
"""Tables whose entries lie unpacked in memory at once."""


class Digit(Recipe):
    """1-of-16 OT of 2-bit entries, random ones: four COTs a table, and nothing else is sent."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        if maker.rank == SERVER:
            tables, up = (
                np.empty(count, np.uint32),
                np.arange(TABLE_SIZE, dtype=np.uint64) * np.uint64(ENTRY_BITS),
            )
            for start in range(0, count, _TOGETHER):
                part = tables[start : start + _TOGETHER]
                entries = maker.ot.random_messages(len(part), TABLE_SIZE, ENTRY_BITS)
                entries <<= up
                part[:] = np.bitwise_or.reduce(entries, axis=1)
            return (torch.from_numpy(tables.view(np.int32)),)
        places, entries = np.empty(count, np.uint8), np.empty(count, np.uint8)
        for start in range(0, count, _TOGETHER):
            part = slice(start, min(start + _TOGETHER, count))
            places[part], entries[part] = maker.ot.random_message(
                part.stop - part.start, TABLE_SIZE, ENTRY_BITS
            )
        return torch.from_numpy(places), torch.from_numpy(entries)

    def count(self, costs: Costs, count: int, bits: int) -> None:
        for start in range(0, count, _TOGETHER):
            costs.ot.random_messages(min(_TOGETHER, count - start), TABLE_SIZE, sender=SERVER)
