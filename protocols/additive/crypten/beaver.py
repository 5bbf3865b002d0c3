"""CrypTen's multiplications on plain tensors: the library's messages without the cost of its wrappers.

Each function takes this party's shares over Z_2^64 and gives its share of the result, not truncated. What
goes over the wire is what CrypTen's `beaver` sends, element for element (tests/protocols/additive/crypten
compares them); only tensors of one element spend their time in wrappers otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from parties.meter import SERVER
from protocols.additive.correlations import Kind
from protocols.additive.crypten.session import CrypTenSession
from protocols.kernels.ring_products import ring_bmm


def mul(session: CrypTenSession, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x * y, broadcasting. 1 round, 8 bytes an element of each factor."""
    return _product(session, Kind.MUL, torch.mul, x, y)


def matmul(session: CrypTenSession, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Batched matrix product. 1 round, 8 bytes an element of each factor."""
    return _product(session, Kind.MATMUL, ring_bmm, x, y)


def _product(
    session: CrypTenSession,
    kind: Kind,
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
) -> torch.Tensor:
    """Beaver's protocol.

    1. Take shares of random a, b and of c = a b.
    2. Open e = x - a and d = y - b.
    3. x y = c + e b + a d + e d; the server adds the last, public term.

    Reveals: e and d, which a and b mask perfectly.
    """
    dealt = session.provider.take(kind, x.shape, y.shape)
    [a, b], [c] = dealt.masks, dealt.results
    e, d = session.communicator.open_sum([x - a, y - b])
    c += product(a, d)
    if session.rank == SERVER:
        b += d
    c += product(e, b)
    return c


def square(session: CrypTenSession, x: torch.Tensor) -> torch.Tensor:
    """x^2. 1 round, 8 bytes an element.

    1. Take shares of a random r and of r^2.
    2. Open e = x - r.
    3. x^2 = r^2 + 2 e r + e^2; the server adds the last, public term.

    Reveals: e, which r masks perfectly.
    """
    dealt = session.provider.take(Kind.SQUARE, x.shape)
    [r], [result] = dealt.masks, dealt.results
    [e] = session.communicator.open_sum([x - r])
    r *= 2
    if session.rank == SERVER:
        r += e
    result += r.mul_(e)
    return result
