"""1-of-N OT of short messages, N a power of two up to 256, from log2 N COTs.

With COTs (q_i, t_i = q_i xor c_i D), i below l = log2 N, and a generator x of GF(2^128): Q = sum q_i x^i and
T = sum t_i x^i = Q xor c D, where c is the number with the bits c_i. Key v is the hash of Q xor v D under one
fresh tweak; the receiver knows key c alone. This is the 1-of-N OT of Roy, "SoftSpokenOT" (CRYPTO 2022), with
its hash that is correlation robust for multiples of D, and the products of Kolesnikov and Kumaresan,
"Improved OT Extension for Transferring Short Secrets" (CRYPTO 2013), by multiples in a field in place of a
code's words.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.wire import RingArray, spec_of
from protocols.kernels.option_masks import mask_turned
from protocols.two_party.ot.session import Session, pieces
from protocols.two_party.reasons import CHOICES, VALUES

Words = NDArray[np.uint64]
MAX_OPTIONS = 256
CHUNK_WORDS = 1 << 20
"""Messages, or COTs, that one frame is about, at most."""
_ONE, _TOP = np.uint64(1), np.uint64(63)
_POLYNOMIAL = np.uint64(0x87)
"""x^128 = x^7 + x^2 + x + 1."""


def index_bits(options: int) -> int:
    """l for N options.

    Raises:
        AssertionError: N is no power of two from 2 to 256.
    """
    bits = options.bit_length() - 1
    assert 2 <= options == 1 << bits <= MAX_OPTIONS, f"no 1-of-{options} OT"
    return bits


def send_chosen(session: Session, messages: Words, message_bits: int, sender: int) -> None:
    """Sends uint64 [n, N] messages of `message_bits` bits, of which the other party gets one a row.

    l COTs a row; l bits to the sender, N message_bits to the receiver. The sender learns nothing.
    """
    assert session.is_sender(sender)
    count, options = messages.shape
    bits = index_bits(options)
    for start, stop in pieces(count, chunk_rows(options)):
        keys = random_messages(session, stop - start, options, message_bits, sender, of=count - start)
        turned = session.recv([spec_of(bits, (stop - start,))], CHOICES)[0].astype(np.uint8)
        sent = np.empty(keys.shape, spec_of(message_bits, ()).dtype)
        mask_turned(np.ascontiguousarray(messages[start:stop]), keys, turned, sent)
        session.send([cast("RingArray", sent)], message_bits, VALUES)


def receive_chosen(session: Session, choices: Words, options: int, message_bits: int, sender: int) -> Words:
    """The messages that uint64 [n] choices, below N, name: uint64 [n]."""
    assert not session.is_sender(sender)
    bits, out = index_bits(options), np.empty(len(choices), np.uint64)
    for start, stop in pieces(len(choices), chunk_rows(options)):
        rest = len(choices) - start
        random, keys = random_message(session, stop - start, options, message_bits, sender, of=rest)
        wanted = choices[start:stop]
        session.send([(random ^ wanted).astype(np.uint8)], bits, CHOICES)
        received = session.recv([spec_of(message_bits, (stop - start, options))], VALUES)[0]
        chosen = np.take_along_axis(received, wanted.astype(np.int64)[:, None], axis=1)[:, 0]
        out[start:stop] = chosen.astype(np.uint64) ^ keys
    return out


def chunk_rows(options: int) -> int:
    """OTs that one frame is about."""
    return CHUNK_WORDS // options


def random_messages(
    session: Session, count: int, options: int, message_bits: int, sender: int, of: int = 0
) -> Words:
    """The sender's random messages: uint64 [count, N], each of `message_bits` bits. Nothing is sent."""
    stream = session.streams[sender]
    assert stream.delta is not None
    combined = _combined(session, count, index_bits(options), sender, of)
    tweak = session.hash.reserve(count)
    return session.hash.options(combined, _multiples(stream.delta, options), tweak, message_bits)


def random_message(
    session: Session, count: int, options: int, message_bits: int, sender: int, of: int = 0
) -> tuple[Words, Words]:
    """The receiver's random choices, below N, and its messages: uint64 [count] each. Nothing is sent."""
    bits = index_bits(options)
    combined, choices = _combined_with_choices(session, count, bits, sender, of)
    tweak = session.hash.reserve(count)
    mask = np.uint64((1 << message_bits) - 1)
    return choices, session.hash.hash(combined, tweak)[:, 0] & mask


def _combined(session: Session, count: int, bits: int, sender: int, of: int) -> Words:
    """The sum of every row's blocks times powers of x: uint64 [count, 2]."""
    return _combined_with_choices(session, count, bits, sender, of)[0]


def _combined_with_choices(
    session: Session, count: int, bits: int, sender: int, of: int
) -> tuple[Words, Words]:
    """As `_combined`, and the number of the lowest bits of a row's blocks: uint64 [count]."""
    taken = session.streams[sender].take(count * bits, of * bits).reshape(bits, count, 2)
    total, number = taken[-1].copy(), taken[-1, :, 0] & _ONE
    for i in range(bits - 2, -1, -1):
        total = doubled(total) ^ taken[i]
        number = (number << _ONE) | (taken[i, :, 0] & _ONE)
    return total, number


def doubled(blocks: Words) -> Words:
    """Blocks times x in GF(2^128), bit i of a block standing for x^i: uint64 [..., 2]."""
    low, high = blocks[..., 0], blocks[..., 1]
    carried = (low << _ONE) ^ ((high >> _TOP) * _POLYNOMIAL)
    return np.stack([carried, (high << _ONE) | (low >> _TOP)], axis=-1)


def _multiples(delta: Words, options: int) -> Words:
    """v D for v below N: uint64 [N, 2]."""
    out, power = np.zeros((options, 2), np.uint64), delta
    for bit in range(index_bits(options)):
        out[1 << bit : 2 << bit] = out[: 1 << bit] ^ power
        power = doubled(power)
    return out
