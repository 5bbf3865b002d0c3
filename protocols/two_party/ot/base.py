"""Base OTs of random keys: endemic OT on the prime-order group of edwards25519.

Masny and Rindal, "Endemic Oblivious Transfer" (CCS 2019), figure 1 with the key agreement of Diffie and
Hellman. The receiver with choice c sends points r_0, r_1 of which r_{1-c} is uniform and r_c = t B -
H_c(r_{1-c}); the sender sends a = s B; key i is a hash of s (r_i + H_i(r_{1-i})), of which the receiver knows
key c: t a. The proof takes H_0, H_1 and the hash of keys for programmable random oracles and needs the
decisional Diffie-Hellman problem to be hard in the group; s is fresh for every OT. Here parties follow the
protocol: they are semi-honest.

The group is the subgroup of prime order of edwards25519, as libsodium has it: points of a peer are accepted
only where they are canonical and of that subgroup, so that no cofactor is left. H maps two halves of a
SHA-512 value by Elligator 2 with the cofactor cleared, and adds both points, which is indifferentiable from a
random oracle (Farashahi et al., "Indifferentiable deterministic hashing to elliptic and hyperelliptic
curves", Math. Comp. 2013).
"""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np
from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from numpy.typing import NDArray

from parties.errors import MalformedFrame
from parties.link import Link
from parties.randomness import KEY_BYTES, Randomness
from parties.wire import spec_of
from protocols.labels import labelled
from protocols.two_party.reasons import BASE_RECEIVER, BASE_SENDER

COUNT = 128
"""Base OTs of one direction: one a bit of a block."""
POINT_BYTES = 32
_WIDE_BYTES = 64
_DOMAIN = b"mpcinfer endemic OT "


def send_base(link: Link, randomness: Randomness) -> tuple[NDArray[np.uint8], bytes]:
    """The sender's two keys of every OT.

    Sends 4 096 bytes and receives 8 192, both in one exchange: neither waits for the other.

    Returns:
        uint8 [128, 2, 16], and a digest of both messages.

    Raises:
        MalformedFrame: the peer sent what is no point of the prime-order group.
    """
    secrets = [_scalar(randomness) for _ in range(COUNT)]
    mine = [sodium.crypto_scalarmult_ed25519_base_noclamp(secret) for secret in secrets]
    link.send([_array(mine).reshape(COUNT, POINT_BYTES)], 8, labelled(link, BASE_SENDER))
    received = link.recv([spec_of(8, (COUNT, 2, POINT_BYTES))], labelled(link, BASE_RECEIVER))[0]
    keys = np.empty((COUNT, 2, KEY_BYTES), np.uint8)
    for index, (secret, own) in enumerate(zip(secrets, mine, strict=True)):
        points = [_require_point(received[index, side].tobytes()) for side in range(2)]
        for side in range(2):
            masked = sodium.crypto_core_ed25519_add(points[side], _to_group(index, side, points[1 - side]))
            keys[index, side] = _key(index, side, own, points, _times(secret, masked))
    return keys, _digest(mine, received)


def receive_base(
    link: Link, choices: NDArray[np.uint8], randomness: Randomness
) -> tuple[NDArray[np.uint8], bytes]:
    """The receiver's one key of every OT.

    Sends 8 192 bytes and receives 4 096. The sender learns nothing of the choices: both points are uniform.

    Args:
        choices: uint8 [128], zeros and ones.

    Returns:
        uint8 [128, 16], and the same digest as the sender's.

    Raises:
        MalformedFrame: see `send_base`.
    """
    secrets, pairs = [_scalar(randomness) for _ in range(COUNT)], list[list[bytes]]()
    for index, choice in enumerate(choices.tolist()):
        other = sodium.crypto_scalarmult_ed25519_base_noclamp(_scalar(randomness))
        own = sodium.crypto_scalarmult_ed25519_base_noclamp(secrets[index])
        chosen = sodium.crypto_core_ed25519_sub(own, _to_group(index, choice, other))
        pairs.append([other, chosen] if choice else [chosen, other])
    sent = _array([point for pair in pairs for point in pair]).reshape(COUNT, 2, POINT_BYTES)
    link.send([sent], 8, labelled(link, BASE_RECEIVER))
    received = link.recv([spec_of(8, (COUNT, POINT_BYTES))], labelled(link, BASE_SENDER))[0]
    keys = np.empty((COUNT, KEY_BYTES), np.uint8)
    for index, choice in enumerate(choices.tolist()):
        theirs = _require_point(received[index].tobytes())
        keys[index] = _key(index, choice, theirs, pairs[index], _times(secrets[index], theirs))
    return keys, _digest([row.tobytes() for row in received], sent)


def _scalar(randomness: Randomness) -> bytes:
    """A scalar within 2^-256 of uniform modulo the group's order."""
    return sodium.crypto_core_ed25519_scalar_reduce(randomness.draw_bytes(_WIDE_BYTES))


def _require_point(point: bytes) -> bytes:
    if not sodium.crypto_core_ed25519_is_valid_point(point):
        raise MalformedFrame("base OT: 32 bytes that are no point of the prime-order group")
    return point


def _times(scalar: bytes, point: bytes) -> bytes:
    try:
        return sodium.crypto_scalarmult_ed25519_noclamp(scalar, point)
    except CryptoError:
        raise MalformedFrame("base OT: points whose product is the group's neutral element") from None


def _to_group(index: int, side: int, point: bytes) -> bytes:
    """H_side of a point, for one of the OTs."""
    wide = hashlib.sha512(_DOMAIN + b"point" + bytes([index, side]) + point).digest()
    halves = [sodium.crypto_core_ed25519_from_uniform(wide[at : at + POINT_BYTES]) for at in (0, POINT_BYTES)]
    return sodium.crypto_core_ed25519_add(*halves)


def _key(index: int, side: int, sender: bytes, receiver: list[bytes], shared: bytes) -> NDArray[np.uint8]:
    parts = (_DOMAIN, b"key", bytes([index, side]), sender, *receiver, shared)
    return np.frombuffer(hashlib.sha256(b"".join(parts)).digest()[:KEY_BYTES], np.uint8)


def _array(points: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(points), np.uint8)


def _digest(sender: list[bytes], receiver: NDArray[np.unsignedinteger]) -> bytes:
    receiver = cast("NDArray[np.uint8]", receiver)
    return hashlib.sha256(_DOMAIN + b"digest" + b"".join(sender) + receiver.tobytes()).digest()
