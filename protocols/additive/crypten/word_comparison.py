"""CrypTen's comparison on plain tensors: arithmetic to binary shares, the sign bit, and back.

The library's messages (8 rounds, 216 bytes an element) without its copies of every intermediate tensor.
"""

from __future__ import annotations

import torch

from parties.meter import SERVER
from protocols.additive.correlations import Request
from protocols.additive.crypten.session import CrypTenSession
from protocols.additive.schedule import comparison


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _levels() -> list[tuple[int, int, int]]:
    """Where each level's arrows start and end, and the factor that fans a start out to its ends.

    At level i the word falls into blocks of 2^(i+1) bits. The carry out of a block's lower half starts at
    that half's top bit and reaches all 2^i bits of the upper half.
    """
    levels: list[tuple[int, int, int]] = []
    for level in range(6):
        half = 1 << level
        starts = sum(1 << (block + half - 1) for block in range(0, 64, 2 * half))
        ends = sum(((1 << half) - 1) << (block + half) for block in range(0, 64, 2 * half))
        levels.append((_signed(starts), _signed(ends), (1 << (half + 1)) - 2))
    return levels


_LEVELS = _levels()


def less_than_zero(session: CrypTenSession, x: torch.Tensor) -> torch.Tensor:
    """Additive shares of 1 where x < 0, else 0. 8 rounds, 216 bytes an element.

    1. Read each party's additive share as a word X_0, X_1 that is XOR-shared: the other's part is zero.
    2. One AND: a carry arises where both have a one, S = X_0 & X_1; it passes where just one has,
       P = X_0 ^ X_1.
    3. Six ANDs: S and P of blocks of 2, 4, ... 64 bits.
    4. The sign is the top bit of P ^ (S << 1).
    5. Open the sign XOR a random bit r; turn the sharing of r around where that is one.

    Reveals: words that fresh random words mask perfectly.
    """
    first, *levels, last = requests = comparison(tuple(x.shape))
    session.source.expect(requests)
    zero = torch.zeros_like(x)
    carry = _and(session, first, *((x, zero) if session.rank == SERVER else (zero, x)))
    state = torch.stack([carry, x])
    for request, (starts, ends, factor) in zip(levels, _LEVELS, strict=True):
        lower = (state & starts).mul_(factor)
        update = _and(session, request, (state[1] & ends).expand_as(lower), lower)
        state[1] &= ~ends
        state ^= update
    sign = ((state[0] << 1) ^ x) < 0
    return _bit_to_arithmetic(session, last, sign.to(torch.int64))


def _and(session: CrypTenSession, request: Request, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """XOR shares of x & y, bit by bit. 1 round, 16 bytes an element.

    1. Take shares of random a, b and of c = a & b.
    2. Open e = x ^ a and d = y ^ b.
    3. x & y = c ^ (e & b) ^ (a & d) ^ (e & d); the server adds the last, public term.
    """
    dealt = session.provider.take_request(request)
    [a, b], [c] = dealt.masks, dealt.results
    e, d = session.communicator.open_xor([x ^ a, y ^ b])
    if session.rank == SERVER:
        b ^= d
    c ^= e.bitwise_and_(b)
    c ^= a.bitwise_and_(d)
    return c


def _bit_to_arithmetic(session: CrypTenSession, request: Request, bit: torch.Tensor) -> torch.Tensor:
    """Additive shares of an XOR-shared bit. 1 round, 8 bytes an element.

    1. Take a random bit r, XOR-shared and additively shared.
    2. Open z = bit ^ r.
    3. bit = r where z = 0, else 1 - r.
    """
    dealt = session.provider.take_request(request)
    [mask], [r] = dealt.masks, dealt.results
    [z] = session.communicator.open_xor([bit ^ mask])
    flipped = r.mul_(1 - 2 * z)
    return flipped.add_(z) if session.rank == SERVER else flipped
