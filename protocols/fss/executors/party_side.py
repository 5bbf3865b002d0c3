"""What a gate has at hand at a party, online: its keys and masks, and the other party."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from parties.link import Link
from parties.meter import SERVER
from parties.randomness import Randomness
from parties.wire import Spec
from protocols.fss.preprocessing.correlations import (
    BLOCK_BYTES,
    Correlation,
    Dpf,
    Idpf,
    Mask,
    Packed,
    Shared,
)
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.point_keys import KeyParts, PointKeys, PrefixKeys, TableKeys, TreeKeys
from protocols.kernels.aes import Hash
from protocols.kernels.dpf import DpfKeys
from protocols.kernels.idpf import IdpfKeys
from protocols.kernels.truth_table import TruthTables
from protocols.tensors import drawn, to_tensor, to_words


class PartySide:
    """A party, as a gate sees it.

    Args:
        link: to the other party.
        correlations: what the dealer sent for this run.
        stream: what this party draws itself; the dealer draws the same.
        hash: the public hash of this session.
        prepared: what the offline step left for the gates, in order.
    """

    def __init__(
        self,
        link: Link,
        correlations: Reader,
        stream: Randomness,
        hash: Hash,
        prepared: deque[torch.Tensor],
    ) -> None:
        assert link.rank is not None
        self.meter = link.meter
        self.link, self.rank, self.hash, self.prepared = link, link.rank, hash, prepared
        self._correlations, self._stream = correlations, stream
        self._taken = [0, 0]

    @property
    def first(self) -> int:
        """1 at the server, 0 at the client: the party that adds public terms."""
        return 1 - self.rank

    def _take(self, item: Correlation) -> None:
        """Books what the dealer sent for an item, to either party."""
        for receiver, count in enumerate(item.sent_bytes):
            self._taken[receiver] += count

    def mask(self, item: Correlation) -> torch.Tensor:
        """This party's summand of a fresh mask."""
        assert isinstance(item, Mask)
        return drawn(self._stream, item.shape, item.bits)

    def shared(self, item: Correlation) -> torch.Tensor:
        """This party's share of what the dealer knows."""
        assert isinstance(item, Shared)
        self._take(item)
        if (bits := item.shared_bits) == 0:
            return torch.zeros(item.shape, dtype=torch.int64)
        if self.rank == SERVER:
            share = self._correlations.ring(item.shape, bits)
        else:
            share = drawn(self._stream, item.shape, bits)
        return share.bitwise_left_shift_(item.zeros) if item.zeros else share

    def shared_together(self, items: tuple[Shared, ...]) -> torch.Tensor:
        """This party's shares of what the dealer knows, of one ring, end to end: int64 [elements].

        In units of the lowest bit that is shared: those below are left out.
        """
        for item in items:
            self._take(item)
        if self.rank == SERVER:
            return self._correlations.rings([(math.prod(item.shape), item.shared_bits) for item in items])
        return drawn(self._stream, (sum(math.prod(item.shape) for item in items),), items[0].bits)

    def packed(self, item: Correlation, sizes: Sequence[int]) -> Generator[NDArray[np.uint8]]:
        """This party's share of what the dealer knows, as bytes: pieces of these sizes, all to be taken."""
        assert isinstance(item, Packed)
        assert sum(sizes) == item.size_bytes
        self._take(item)
        for size in sizes:
            yield self._correlations.bytes(size) if self.rank == SERVER else self._stream.uint8((size,))

    def point_keys(self, item: Correlation) -> KeyParts:
        """This party's keys of point functions, those of some elements at a time; all are to be taken.

        Keys are overwritten when the next ones are asked for.
        """
        assert isinstance(item, Dpf)
        self._take(item)
        for part in item.parts:
            yield part, self._keys(Dpf((part.stop - part.start,), item.bits))

    def _keys(self, item: Dpf) -> PointKeys:
        """Keys of neighbouring elements."""
        (count,), size = item.shape, item.sent_bytes[0]
        if item.is_table:
            table = self._correlations.bytes(size) if self.rank == SERVER else self._stream.uint8((size,))
            return TableKeys(TruthTables.from_bytes(item.bits, count, table))
        words = self._correlations.words(size // 8)
        root = self._stream.uint64((count, 2))
        return TreeKeys(self.rank, DpfKeys.from_words(item.bits, count, words), root, self.hash)

    def prefix_keys(self, item: Correlation) -> PrefixKeys:
        """This party's keys of prefix functions."""
        assert isinstance(item, Idpf)
        self._take(item)
        count, levels = math.prod(item.shape), max(item.depths)
        cw = self._correlations.words(count * levels * BLOCK_BYTES // 8).reshape(levels, count, 2)
        values = self._correlations.ring(item.values_shape, item.value_bits)
        root = self._stream.uint64((count, 2))
        common = IdpfKeys(item.bits, item.depths, cw, to_words(values))
        return PrefixKeys(self.rank, common, root, self.hash)

    def exchange(self, arrays: Sequence[tuple[torch.Tensor, int]], reason: str) -> list[torch.Tensor]:
        """Sends summands of the given widths and receives the peer's: one round; the sums."""
        self.send(arrays, reason)
        theirs = self.receive([(bits, tuple(mine.shape)) for mine, bits in arrays], reason)
        return [mine + other for (mine, _), other in zip(arrays, theirs, strict=True)]

    def send(self, arrays: Sequence[tuple[torch.Tensor, int]], reason: str) -> None:
        """Sends tensors, each reduced to its width."""
        words = [to_words(value) for value, _ in arrays]
        self.link.send(words, [bits for _, bits in arrays], f"{self.meter.label}/{reason}")

    def receive(self, arrays: Sequence[tuple[int, tuple[int, ...]]], reason: str) -> list[torch.Tensor]:
        """Tensors of these widths and shapes from the other party."""
        specs = [Spec(bits, shape) for bits, shape in arrays]
        return [to_tensor(array) for array in self.link.recv(specs, f"{self.meter.label}/{reason}")]
