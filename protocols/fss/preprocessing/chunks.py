"""Sends a large tensor in chunks, which stay in cache, so that no party holds it twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch

from parties.errors import PeerMismatch
from parties.link import Link
from parties.meter import Phase
from parties.wire import Spec
from protocols.tensors import to_tensor, to_words

CHUNK_ELEMENTS = 1 << 17
"""A multiple of eight: chunks end on whole bytes, so that they are as long as the tensor would be."""
BATCH_CHUNKS = 32
"""A sender is ahead of its receiver by two batches at most: 64 MB, where elements have 64 bits."""
_LABEL = "setup"


class FlowControl:
    """Flow control of many chunks: the receiver acknowledges each batch, and the sender waits for it.

    Both ends make one, and hand it to all transfers that belong together. Receipts are control traffic.

    Args:
        came: at the receiver, is told of every chunk's bytes.
    """

    def __init__(self, link: Link, came: Callable[[int], None] | None = None) -> None:
        self._link, self._chunks, self._confirmed, self._came = link, 0, 0, came

    def sent(self) -> None:
        """One more chunk was; waits where two batches are not confirmed.

        Raises:
            PeerMismatch: the receiver confirms something else.
        """
        self._chunks += 1
        if self._chunks - self._confirmed == 2 * BATCH_CHUNKS:
            self._wait()

    def received(self, size_bytes: int) -> None:
        """One more chunk was; says so after a batch."""
        self._chunks += 1
        if self._came is not None:
            self._came(size_bytes)
        if self._chunks % BATCH_CHUNKS == 0:
            with self._link.meter.phase(Phase.CONTROL):
                self._link.send_document({"received": self._chunks}, _LABEL)

    def settle(self) -> None:
        """The sender takes the receipts that are left."""
        while self._chunks - self._confirmed >= BATCH_CHUNKS:
            self._wait()

    def _wait(self) -> None:
        self._confirmed += BATCH_CHUNKS
        with self._link.meter.phase(Phase.CONTROL):
            document = self._link.recv_document(_LABEL, max_bytes=64)
        if document != {"received": self._confirmed}:
            raise PeerMismatch(f"{_LABEL}: expected a receipt of {self._confirmed} pieces")


def send_in_chunks(
    link: Link,
    elements: int,
    bits: int,
    label: str,
    chunk: Callable[[slice], torch.Tensor],
    flow: FlowControl,
) -> None:
    """Sends ring elements.

    Args:
        elements: how many.
        chunk: elements of a flat index, int64, of which the lowest `bits` count.
    """
    for at in _chunks(elements):
        link.send([to_words(chunk(at))], bits, label)
        flow.sent()


def receive_in_chunks(
    link: Link, shape: tuple[int, ...], bits: int, label: str, flow: FlowControl
) -> torch.Tensor:
    """What `send_in_chunks` sent, in a shape; raises as `Link.recv`."""
    received = torch.empty(math.prod(shape), dtype=torch.int64)
    for at in _chunks(len(received)):
        (array,) = link.recv([Spec(bits, (at.stop - at.start,))], label)
        received[at] = to_tensor(array)
        flow.received((at.stop - at.start) * bits // 8)
    return received.reshape(shape)


def _chunks(elements: int) -> Generator[slice]:
    """At least one, which may be empty."""
    for start in range(0, max(elements, 1), CHUNK_ELEMENTS):
        yield slice(start, min(start + CHUNK_ELEMENTS, elements))
