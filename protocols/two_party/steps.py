"""What each primitive sends and takes, from shapes alone: for bills, and to announce a forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parties.meter import CLIENT, SERVER
from protocols.arithmetic.causal_rows import CausalRows
from protocols.arithmetic.shapes import Shape
from protocols.two_party.codes import Codes
from protocols.two_party.correlations import ENTRY_BITS, MOST_UPPER_BITS, PLACES, TABLE_BITS, Kind, Request

DIGIT_BITS = 4
"""Of the digits that are compared by look-up."""
BOTH = (SERVER, CLIENT)


@dataclass(frozen=True, slots=True)
class Message:
    """A frame: who receives it, and its arrays as (elements, bits) each."""

    receivers: tuple[int, ...]
    arrays: tuple[tuple[int, int], ...]

    @property
    def payload_bytes(self) -> int:
        return sum((count * bits + 7) // 8 for count, bits in self.arrays)


@dataclass(frozen=True, slots=True)
class Step:
    """A primitive: its messages and its correlations, each in order."""

    messages: tuple[Message, ...]
    requests: tuple[Request, ...]


def exchange(*arrays: tuple[int, int]) -> Message:
    """Both parties send arrays of so many elements and bits at once."""
    return Message(BOTH, arrays)


def product(a: Shape, b: Shape, bits: int) -> Step:
    """a - r and b - s are opened."""
    opened = exchange((math.prod(a), bits), (math.prod(b), bits))
    return Step((opened,), (Request(Kind.PRODUCT, (a, b), bits),))


def square(a: Shape, bits: int) -> Step:
    """a - r is opened."""
    return Step((exchange((math.prod(a), bits)),), (Request(Kind.SQUARE, (a,), bits),))


def matmul(a: Shape, b: Shape, bits: int) -> Step:
    """As `product`."""
    opened = exchange((math.prod(a), bits), (math.prod(b), bits))
    return Step((opened,), (Request(Kind.MATMUL, (a, b), bits),))


def attention_factors(name: str, q: Shape, k: Shape, v: Shape, start: int, bits: tuple[int, int]) -> Step:
    """Queries [..., H, T, K], keys and values [..., H_kv, T, K], each minus its mask, are opened together."""
    score_bits, mix_bits = bits
    requests = (
        Request(Kind.SCORES, _kept(q, k, start), score_bits, name),
        Request(Kind.MIX, _kept(q, v, start), mix_bits, name),
    )
    opened = exchange((math.prod(q), score_bits), (math.prod(k), score_bits), (math.prod(v), mix_bits))
    return Step((opened,), requests)


def _kept(q: Shape, new: Shape, start: int) -> tuple[Shape, Shape]:
    """Shapes of a request for rows of queries and new keys, or values."""
    *lead, heads, tokens, width = new
    return (*lead, heads, q[-3] // heads, tokens, width), (*lead, heads, start + tokens, width)


def mixed(weights: Shape, bits: int) -> Step:
    """Attention weights [..., T, S] of keys up to each token's own, minus masks that are there already."""
    *lead, tokens, keys = weights
    visible = CausalRows(tokens, keys - tokens).visible
    return Step((exchange((math.prod(lead) * visible, bits)),), ())


def linear(x: Shape, weight: Shape, name: str, bits: int, *, transposed: bool) -> Step:
    """The client sends its share minus the mask that it alone knows."""
    kind = Kind.LINEAR_TRANSPOSED if transposed else Kind.LINEAR
    message = Message((SERVER,), ((math.prod(x), bits),))
    return Step((message,), (Request(kind, (x, weight), bits, name),))


def truncate(a: Shape, wrap_bits: int) -> Step:
    """Each party sends its bit XOR a random one of its own; of the carry so many bits are needed."""
    return Step((exchange((math.prod(a), 1)),), (Request(Kind.WRAP, (a,), wrap_bits),))


def select(a: Shape, bits: int) -> Step:
    """The bit XOR a random one, and a minus a random number, are opened; a has the result's shape."""
    count = math.prod(a)
    return Step((exchange((count, 1), (count, bits)),), (Request(Kind.SELECT, (a,), bits),))


def to_additive(count: int, bits: int) -> Step:
    """A bit XOR a random one is opened."""
    return Step((exchange((count, 1)),), (Request(Kind.BIT, ((count,),), bits),))


def compare(count: int, word_bits: int) -> Step:
    """Whether the server's word is less than the client's, XOR-shared: digits by look-up, then a tree."""
    digits = -(-word_bits // DIGIT_BITS)
    looked_up = digits * count
    messages = [
        Message((SERVER,), ((looked_up, DIGIT_BITS),)),
        Message((CLIENT,), ((looked_up, TABLE_BITS),)),
    ]
    requests = [Request(Kind.DIGIT, ((looked_up,),), ENTRY_BITS)]
    for pairs in tree(digits):
        ands = (2 * pairs - 1) * count
        messages.append(exchange((2 * ands, 1)))
        requests.append(Request(Kind.AND, ((ands,),), 1))
    return Step(tuple(messages), tuple(requests))


def sign_bits_by_place(bits: int) -> bool:
    """Whether numbers of so many bits can be opened under an index of two digits."""
    return min(PLACES) < bits <= max(PLACES) + MOST_UPPER_BITS


def sign(count: int, bits: int) -> Step:
    """A number is opened under a random index; then one AND."""
    digit = next(digit for digit in sorted(PLACES) if bits <= digit + MOST_UPPER_BITS)
    requests = (Request(PLACES[digit], ((count,),), bits), Request(Kind.AND, ((count,),), 1))
    return Step((exchange((count, bits)), exchange((2 * count, 1))), requests)


def lines(count: int, codes: Codes) -> Step:
    """Indices are opened under random ones; then ANDs; then bits that choose, and what they choose from."""
    places = count * len(codes.tables)
    ands, transfers = codes.ands * places, codes.transfers * places
    messages = (
        exchange((places, codes.index_bits)),
        exchange((2 * ands, 1)),
        exchange((transfers, 1)),
        exchange(*((places, width) for width in codes.widths)),
    )
    requests = (
        Request(PLACES[codes.digit_bits], ((places,),), codes.index_bits),
        Request(Kind.AND, ((ands,),), 1),
        Request(Kind.TRANSFER, ((transfers,),), 64),
    )
    return Step(messages, requests)


def tree(digits: int) -> list[int]:
    """Pairs of blocks that are joined at every level until one block is left."""
    pairs: list[int] = []
    while digits > 1:
        pairs.append(digits // 2)
        digits -= digits // 2
    return pairs
