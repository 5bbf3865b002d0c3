"""What a gate has at hand at the dealer: the masks of all, and a way to hand out keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import CLIENT, SERVER
from parties.packing import pack_words
from parties.randomness import Randomness
from protocols.fss.preprocessing.correlations import Correlation, Dpf, Idpf, Mask, Packed, Shared, Writer
from protocols.fss.preprocessing.matrix import Products
from protocols.kernels import dpf, idpf, truth_table
from protocols.kernels.aes import Hash
from protocols.tensors import drawn, to_tensor, to_words


class DealerSide:
    """The dealer, as a gate sees it.

    Args:
        writers: where the server's and the client's correlations go.
        linear: where the server's part of linear layers goes: it is needed earlier, offline.
        streams: what the server and the client draw.
        linear_streams: what they draw for linear layers.
        hash: the public hash of this session.
        products: of the client's masks with the weights' masks.
    """

    def __init__(
        self,
        *,
        writers: tuple[Writer, Writer],
        linear: Writer,
        streams: tuple[Randomness, Randomness],
        linear_streams: tuple[Randomness, Randomness],
        hash: Hash,
        products: Products,
    ) -> None:
        self._writers, self._linear = writers, linear
        self._streams, self.linear_streams = streams, linear_streams
        self.hash, self.products = hash, products

    def mask(self, item: Correlation) -> torch.Tensor:
        """A fresh mask."""
        assert isinstance(item, Mask)
        return sum_of_draws(self._streams, item.shape, item.bits)

    def share(self, item: Correlation, value: torch.Tensor) -> None:
        """Hands out additive shares of a tensor, which broadcasts to the correlation's shape."""
        assert isinstance(item, Shared)
        if (bits := item.shared_bits) == 0:
            return
        client = drawn(self._streams[CLIENT], item.shape, bits)
        server = (value >> item.zeros if item.zeros else value) - client
        self._writers[SERVER](pack_words(to_words(server).reshape(-1), bits))

    def share_together(
        self, correlations: tuple[Shared, ...], complement: Callable[[NDArray[np.uint64]], None]
    ) -> None:
        """Hands out additive shares of several correlations of one ring, end to end: `complement` turns the
        client's into the server's, in place, in units of the lowest bit that is shared."""
        lengths = [math.prod(item.shape) for item in correlations]
        shares = to_words(drawn(self._streams[CLIENT], (sum(lengths),), correlations[0].bits))
        complement(shares)
        for part, item in zip(np.split(shares, list(accumulate(lengths))[:-1]), correlations, strict=True):
            if item.shared_bits:
                self._writers[SERVER](pack_words(part, item.shared_bits))

    def packed(
        self, item: Correlation, sizes: Sequence[int], complement: Callable[[NDArray[np.uint8]], None]
    ) -> None:
        """Hands out bytes: the client draws its own, and `complement` makes the server's of them, in place.

        Args:
            sizes: of the pieces in which that is done, one after the other.
        """
        assert isinstance(item, Packed)
        assert sum(sizes) == item.size_bytes
        for size in sizes:
            piece = self._streams[CLIENT].uint8((size,))
            complement(piece)
            self._writers[SERVER](piece)

    def point_keys(self, item: Correlation, alpha: torch.Tensor) -> torch.Tensor:
        """Hands out keys of point functions at alpha; their signs, 1 or -1."""
        assert isinstance(item, Dpf)
        points, signs = to_words(alpha.reshape(-1)), np.empty(math.prod(item.shape), np.int64)
        for part in item.parts:
            signs[part] = self._give_keys(Dpf((part.stop - part.start,), item.bits), points[part])
        return to_tensor(signs.view(np.uint64)).reshape(item.shape)

    def _give_keys(self, item: Dpf, points: NDArray[np.uint64]) -> NDArray[np.int8]:
        """Keys of neighbouring elements; returns their signs."""
        if item.is_table:
            drawn = self._streams[CLIENT].uint8((item.sent_bytes[SERVER],))
            tables, signs = truth_table.share(drawn, item.bits, points)
            self._writers[SERVER](tables)
            return signs
        keys, signs = dpf.generate(points, item.bits, self._roots(len(points)), self.hash)
        for write in self._writers:
            write(keys.words.view(np.uint8))
        return signs

    def prefix_keys(
        self, item: Correlation, alpha: torch.Tensor, payload: torch.Tensor | None = None
    ) -> None:
        """Hands out keys of prefix functions at alpha; `payload` [depths, elements] are second outputs."""
        assert isinstance(item, Idpf)
        assert item.payload == (payload is not None)
        points, second = to_words(alpha.reshape(-1)), None if payload is None else to_words(payload)
        keys = idpf.generate(points, item.bits, item.depths, self._roots(len(points)), self.hash, second)
        values = pack_words(keys.values.reshape(-1), item.value_bits)
        for write in self._writers:
            write(keys.cw.reshape(-1).view(np.uint8))
            write(values)

    def give_linear(self, value: torch.Tensor, bits: int) -> None:
        """Sends the server ring elements for a linear layer."""
        self._linear(pack_words(to_words(value).reshape(-1), bits))

    def _roots(self, count: int) -> NDArray[np.uint64]:
        return np.stack([stream.uint64((count, 2)) for stream in self._streams])


def sum_of_draws(streams: Sequence[Randomness], shape: tuple[int, ...], bits: int) -> torch.Tensor:
    """What the holders of these streams draw, added up."""
    first, *others = (drawn(stream, shape, bits) for stream in streams)
    for other in others:
        first = first + other
    return first
