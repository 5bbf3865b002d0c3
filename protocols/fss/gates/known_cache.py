"""Keys and values that the server knows, as cached ones: masked once as weights are, and nothing dealt.

What a product with a cached k asks for (`causal.py`) is a masked value kh = k + B at both parties, B at the
dealer, and summands k_0 + k_1 = k. Of a weight k the server has k itself, and the client k - M, which the
set-up brought it; server and dealer draw M. So with

    B = -M,    kh = k - M at both,    k_0 = k at the server,    k_1 = 0 at the client

everything is there: no gate runs and no correlation is taken. Products with it are those of any cached value,
with a masked left factor q + A:

    q k^T = (q + A) k_0^T  -  A_0 kh^T + [A B^T]_0        at the server
          +                -  A_1 kh^T + [A B^T]_1        at the client,

and their correlations, A and A B^T shared, are dealt afresh for every pass, since A is fresh.

What is different from a value that nobody knows: the server knows B. It learns nothing from that. Its shares
of A and of A B^T are uniform given B, as the client's streams, which it does not have, are in them; q + A is
uniform because A is. The client knows kh, uniform as M is, and a zero. Both thus see what they see of a
cached value and of a weight. Other cached values are appended row by row, which mixes nothing.

Cost: in the set-up, ring_bits an element to the client, as of a weight; online and offline nothing.
Source: a Beaver triple whose one factor has a known opening; the mask is a weight's (`matrix.py`).
"""

from __future__ import annotations

import torch

from parties.randomness import Randomness
from protocols.fss.gates.cached import CachedShare
from protocols.fss.preprocessing.matrix import Matrix
from protocols.meta_tensors import no_data
from protocols.share import Held
from protocols.tensors import drawn


def known_at_server(matrix: Matrix, mask: Randomness) -> CachedShare:
    """The server's part of a value [.., S, K] that it knows.

    Args:
        mask: of the weight's name, from its start: what the set-up subtracted.
    """
    return _cached(matrix, matrix.value - drawn(mask, matrix.shape, 64), matrix.value)


def known_at_client(matrix: Matrix) -> CachedShare:
    """The client's part, of the value minus its mask, as `receive_setup` gives it."""
    return _cached(matrix, matrix.value, torch.zeros_like(matrix.value))


def known_at_dealer(matrix: Matrix, mask: torch.Tensor) -> CachedShare:
    """The dealer's: what is added to the value. `mask`: all of what the server subtracts, 64-bit words."""
    return _cached(matrix, -mask, no_data(matrix.shape))


def known_in_clear(matrix: Matrix) -> CachedShare:
    """The reference's."""
    return _cached(matrix, matrix.value, matrix.value)


def known_shape(matrix: Matrix) -> CachedShare:
    """Of whoever counts, or prepares what does not read it."""
    return _cached(matrix, no_data(matrix.shape), no_data(matrix.shape))


def _cached(matrix: Matrix, value: torch.Tensor, own: torch.Tensor) -> CachedShare:
    return CachedShare(value, matrix.frac_bits, matrix.ring_bits, Held.MASKED, own=own)
