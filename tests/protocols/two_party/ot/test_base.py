"""Base OTs: keys agree, the others differ, and what is no point of the group is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from nacl import bindings as sodium

from parties.errors import MalformedFrame, PeerMismatch
from parties.link import Link
from parties.local import local_pair
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from parties.trace import Message, Trace
from protocols.labels import labelled
from protocols.two_party.ot import base
from protocols.two_party.reasons import BASE_RECEIVER

CHOICES = InsecureTestRandom(5).uint8((base.COUNT,)) & 1
IDENTITY = (1).to_bytes(32, "little")
ORDER_EIGHT = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
NO_POINT = (2).to_bytes(32, "little")
NOT_CANONICAL = ((1 << 255) - 19 + 1).to_bytes(32, "little")


def run(tamper: Callable[[Message], Message] | None = None, tampered: int = 1):
    ends = [Trace(end, tamper_sent=tamper if i == tampered else None) for i, end in enumerate(local_pair())]
    return run_two_threads(
        lambda link: base.send_base(link, InsecureTestRandom(1)),
        lambda link: base.receive_base(link, CHOICES, InsecureTestRandom(2)),
        channels=(ends[0], ends[1]),
    )


def test_the_receiver_has_the_keys_that_it_chose_and_no_others() -> None:
    (both, digest), (chosen, same) = run()
    rows = np.arange(base.COUNT)
    assert np.array_equal(both[rows, CHOICES], chosen)
    assert not (both[rows, 1 - CHOICES] == chosen).all(axis=1).any()
    assert len(np.unique(both.reshape(-1, 16), axis=0)) == 2 * base.COUNT
    assert digest == same


def test_a_key_depends_on_all_that_was_said() -> None:
    """The broken twin of a key: one that leaves out who said what."""
    points = [sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([i]) + bytes(31)) for i in (1, 2, 3, 4)]
    plain = base._key(0, 0, points[0], points[1:3], points[3]).tobytes()
    others = (
        base._key(1, 0, points[0], points[1:3], points[3]),
        base._key(0, 1, points[0], points[1:3], points[3]),
        base._key(0, 0, points[1], points[1:3], points[3]),
        base._key(0, 0, points[0], points[2:0:-1], points[3]),
        base._key(0, 0, points[0], points[1:3], points[2]),
    )
    assert plain not in {each.tobytes() for each in others}


def mixed() -> bytes:
    """A point of the curve outside of the subgroup: one of its points and one of order eight."""
    return sodium.crypto_core_ed25519_add(
        sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([5]) + bytes(31)), ORDER_EIGHT
    )


@pytest.mark.parametrize("bad", [IDENTITY, ORDER_EIGHT, NO_POINT, NOT_CANONICAL, mixed(), b"\xff" * 32])
@pytest.mark.parametrize("tampered", [0, 1])
def test_what_is_no_point_of_the_group_is_refused(bad: bytes, tampered: int) -> None:
    def tamper(message: Message) -> Message:
        return [message[0], message[1][:-32] + bad]

    with pytest.raises(MalformedFrame, match="no point of the prime-order group"):
        run(tamper, tampered)


def test_points_that_cancel_are_refused() -> None:
    """r_0 = -H(r_1) would make a key that everybody knows."""

    def tamper(message: Message) -> Message:
        first, second = message[1][:32], message[1][32:64]
        masked = base._to_group(0, 0, second)
        cancels = sodium.crypto_core_ed25519_sub(sodium.crypto_core_ed25519_sub(first, first), masked)
        return [message[0], cancels + message[1][32:]]

    with pytest.raises(MalformedFrame, match="neutral element"):
        run(tamper)


def test_a_message_of_another_length_is_refused() -> None:
    def send_short(link: Link) -> None:
        link.send([np.zeros((base.COUNT, 32), np.uint8)], 8, labelled(link, BASE_RECEIVER))

    with pytest.raises(PeerMismatch, match="expected 8-bit"):
        run_two_threads(lambda link: base.send_base(link, InsecureTestRandom(1)), send_short)


def test_hashes_to_the_group_are_points_of_it_and_all_differ() -> None:
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([9]) + bytes(31))
    hashed = {base._to_group(index, side, point) for index in range(20) for side in range(2)}
    assert len(hashed) == 40
    assert all(sodium.crypto_core_ed25519_is_valid_point(each) for each in hashed)
