"""A large tensor over a link, in pieces that stay in cache, and that nobody has to hold twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch

from parties.link import Link
from parties.wire import Spec
from protocols.tensors import to_tensor, to_words

PIECE_ELEMENTS = 1 << 17
"""A multiple of eight: pieces end on whole bytes, so that they are as long as the tensor would be."""


def send_in_pieces(
    link: Link, elements: int, bits: int, label: str, piece: Callable[[slice], torch.Tensor]
) -> None:
    """Sends ring elements.

    Args:
        elements: how many.
        piece: elements of a flat index, int64, of which the lowest `bits` count.
    """
    for at in _pieces(elements):
        link.send([to_words(piece(at))], bits, label)


def receive_in_pieces(link: Link, shape: tuple[int, ...], bits: int, label: str) -> torch.Tensor:
    """What `send_in_pieces` sent, in a shape; raises as `Link.recv`."""
    received = torch.empty(math.prod(shape), dtype=torch.int64)
    for at in _pieces(len(received)):
        (array,) = link.recv([Spec(bits, (at.stop - at.start,))], label)
        received[at] = to_tensor(array)
    return received.reshape(shape)


def _pieces(elements: int) -> Generator[slice]:
    """At least one, which may be empty."""
    for start in range(0, max(elements, 1), PIECE_ELEMENTS):
        yield slice(start, min(start + PIECE_ELEMENTS, elements))
