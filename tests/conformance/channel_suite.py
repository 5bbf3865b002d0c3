"""What every channel must do; each check is given a maker of connected pairs and raises where one does not.

A check uses both ends in its own thread, one at a time, except where it says otherwise.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from parties.channel import Channel
from parties.errors import PeerClosed, PeerTimeout
from parties.wire import Buffer
from tests.deadlines import HANG_S, SILENCE_S, until
from tests.parties.pairs import MakePair

Check = Callable[[MakePair], None]


def check_messages_arrive_whole_and_in_order(make: MakePair) -> None:
    """Part boundaries, empty parts and every size around the framing's thresholds survive."""
    sizes = [[0], [1], [0, 0, 0], [222], [223], [255, 0, 256], [5, 65535, 65536], [0, 1 << 20, 3]]
    messages = [[_bytes(index, size) for index, size in enumerate(each)] for each in sizes * 3]
    first, second = make(HANG_S)
    with first, second:
        for message in messages:
            first.send(message)
            second.send(message[::-1])
        for message in messages:
            _expect(second.recv(), message)
            _expect(first.recv(), message[::-1])


def check_many_messages_in_order(make: MakePair) -> None:
    first, second = make(HANG_S)
    with first, second:
        for number in range(500):
            first.send([number.to_bytes(4, "little")])
        for number in range(500):
            _expect(second.recv(), [number.to_bytes(4, "little")])


def check_send_does_not_wait(make: MakePair) -> None:
    """Both ends send more than any buffer of the system holds before either receives."""
    first, second = make(HANG_S)
    with first, second:
        big = _bytes(1, 4 << 20)
        for _repeat in range(6):
            first.send([big])
            second.send([big, b"x"])
        for _repeat in range(6):
            _expect(second.recv(), [big])
            _expect(first.recv(), [big, b"x"])


def check_buffers_may_be_reused(make: MakePair) -> None:
    """What was sent is what was in the buffer then, whatever is written to it afterwards."""
    first, second = make(HANG_S)
    with first, second:
        for size in (16, 5000, 1 << 20):
            for sender, receiver in ((first, second), (second, first)):
                buffer = bytearray(_bytes(size, size))
                before = bytes(buffer)
                sender.send([memoryview(buffer), buffer])
                buffer[:] = bytes(size)
                _expect(receiver.recv(), [before, before])


def check_received_parts_stay(make: MakePair) -> None:
    """A received message is not overwritten by the next ones."""
    first, second = make(HANG_S)
    with first, second:
        messages = [[_bytes(number, 10_000), _bytes(number, 10)] for number in range(20)]
        for message in messages:
            first.send(message)
        received = [second.recv() for _message in messages]
        for got, message in zip(received, messages, strict=True):
            _expect(got, message)


def check_deadline(make: MakePair) -> None:
    """Silence is PeerTimeout, and the channel still works afterwards."""
    first, second = make(SILENCE_S)
    with first, second:
        for _repeat in range(2):
            _raises(PeerTimeout, second.recv)
        first.send([b"late"])
        arrived: list[list[Buffer]] = []
        assert until(lambda: _tried(second, arrived)), "nothing came after a timeout"
        _expect(arrived[0], [b"late"])


def check_close_delivers_what_was_sent(make: MakePair) -> None:
    first, second = make(HANG_S)
    with first, second:
        messages = [[_bytes(number, 100_000)] for number in range(30)]
        for message in messages:
            first.send(message)
        first.close()
        for message in messages:
            _expect(second.recv(), message)
        for _repeat in range(2):
            _raises(PeerClosed, second.recv)


def check_close_wakes_a_waiting_peer(make: MakePair) -> None:
    """A peer that waits in another thread gets PeerClosed and not PeerTimeout."""
    for closing in (0, 1):
        ends = make(HANG_S)
        raised: list[BaseException] = []
        waiting = threading.Thread(target=_collect_error, args=(ends[1 - closing], raised))
        waiting.start()
        ends[closing].close()
        waiting.join()
        ends[1 - closing].close()
        assert [type(error) for error in raised] == [PeerClosed], f"got {raised}"


def check_a_closed_end_refuses(make: MakePair) -> None:
    """After closing, neither sending nor receiving works at this end; closing again does."""
    first, second = make(HANG_S)
    with first, second:
        second.send([b"never read"])
        first.close()
        first.close()
        _raises(PeerClosed, lambda: first.send([b""]))
        _raises(PeerClosed, first.recv)


def check_sending_to_a_closed_peer_is_refused(make: MakePair) -> None:
    """Once the peer's end is known."""
    first, second = make(HANG_S)
    with first, second:
        first.close()
        _raises(PeerClosed, second.recv)
        _raises(PeerClosed, lambda: second.send([b"to nobody"]))


def check_both_ends_count_the_same_wire_bytes(make: MakePair) -> None:
    """At least the payload, and the same for what was sent and what arrived."""
    first, second = make(HANG_S)
    with first, second:
        for sizes in ([0], [7, 300], [70_000]):
            message = [_bytes(0, size) for size in sizes]
            first.send(message)
            counted = first.wire_bytes(message)
            assert counted >= sum(sizes), f"{counted} wire bytes for {sum(sizes)} of payload"
            assert second.wire_bytes(second.recv()) == counted


CHECKS: tuple[Check, ...] = (
    check_messages_arrive_whole_and_in_order,
    check_many_messages_in_order,
    check_send_does_not_wait,
    check_buffers_may_be_reused,
    check_received_parts_stay,
    check_deadline,
    check_close_delivers_what_was_sent,
    check_close_wakes_a_waiting_peer,
    check_a_closed_end_refuses,
    check_sending_to_a_closed_peer_is_refused,
    check_both_ends_count_the_same_wire_bytes,
)


def _bytes(seed: int, size: int) -> bytes:
    return hashlib.shake_128(seed.to_bytes(4, "little")).digest(size)


def _expect(got: Sequence[Buffer], expected: Sequence[bytes]) -> None:
    lengths = [len(part) for part in got], [len(part) for part in expected]
    assert lengths[0] == lengths[1], f"parts of {lengths[0]} bytes arrived, {lengths[1]} were sent"
    assert all(bytes(part) == sent for part, sent in zip(got, expected, strict=True)), "contents differ"


def _raises(kind: type[Exception], call: Callable[[], object]) -> None:
    try:
        result = call()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


def _tried(channel: Channel, arrived: list[list[Buffer]]) -> bool:
    """Whether something has come within the channel's deadline, which may be too short."""
    try:
        arrived.append(channel.recv())
    except PeerTimeout:
        return False
    return True


def _collect_error(channel: Channel, raised: list[BaseException]) -> None:
    try:
        channel.recv()
    except BaseException as error:
        raised.append(error)
