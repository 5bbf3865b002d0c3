"""Shaped channels, on a clock that the test turns: the delays are exactly the model's."""

from __future__ import annotations

import time

import pytest

from parties.errors import ConfigError, MalformedFrame, PeerClosed, PeerTimeout
from parties.local import local_pair
from parties.shaped import Shape, Shaped, over

MS = 1_000_000


class Clock:
    """Time that passes only by sleeping, or when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10**15
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ns += round(seconds * 1e9)

    def elapsed_ms(self) -> float:
        return (self.now_ns - 10**15) / MS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _pair(**options: float) -> tuple[Shaped, Shaped]:
    first, second = local_pair()
    return Shaped(first, **options), Shaped(second, latency_s=0.0)


def test_latency_is_paid_once_by_messages_sent_together(clock: Clock) -> None:
    first, second = _pair(latency_s=0.040)
    for number in range(3):
        first.send([bytes([number])])
    assert clock.elapsed_ms() == 0, "sending does not wait"
    assert [second.recv() for _message in range(3)] == [[b"\0"], [b"\1"], [b"\2"]]
    assert clock.elapsed_ms() == 40


def test_a_round_trip_is_both_latencies(clock: Clock) -> None:
    ends = local_pair()
    first, second = Shaped(ends[0], latency_s=0.010), Shaped(ends[1], latency_s=0.030)
    first.send([b"ping"])
    second.recv()
    second.send([b"pong"])
    first.recv()
    assert clock.elapsed_ms() == 40


def test_bandwidth_lines_messages_up(clock: Clock) -> None:
    first, second = _pair(latency_s=0.005, bytes_per_s=1e6)
    first.send([bytes(2000)])
    first.send([bytes(1000), bytes(2000)])
    second.recv()
    assert clock.elapsed_ms() == 5 + 2
    second.recv()
    assert clock.elapsed_ms() == 5 + 2 + 3


def test_an_idle_line_is_not_saved_up(clock: Clock) -> None:
    first, second = _pair(latency_s=0.0, bytes_per_s=1e6)
    first.send([bytes(1000)])
    clock.now_ns += 50 * MS
    first.send([bytes(1000)])
    second.recv()
    assert clock.elapsed_ms() == 50, "the first one had arrived long ago"
    second.recv()
    assert clock.elapsed_ms() == 51


def test_computation_overlaps_with_the_network(clock: Clock) -> None:
    first, second = _pair(latency_s=0.040)
    first.send([b"x"])
    clock.now_ns += 30 * MS
    second.recv()
    assert clock.elapsed_ms() == 40


def test_a_deadline_before_the_arrival(clock: Clock) -> None:
    ends = local_pair()
    first, second = Shaped(ends[0], latency_s=10.0), Shaped(ends[1], latency_s=0.0, timeout_s=4.0)
    first.send([b"slow"])
    for _repeat in range(2):
        with pytest.raises(PeerTimeout, match="within 4 s"):
            second.recv()
    assert second.recv() == [b"slow"]
    assert clock.elapsed_ms() == 10_000


def test_both_ends_must_be_shaped() -> None:
    plain, other = local_pair()
    shaped = Shaped(other, latency_s=0.0)
    for message in ([b"no stamp"], [b"12345678"], [b"x", b"y"]):
        plain.send(message)
        with pytest.raises(MalformedFrame, match="both ends"):
            shaped.recv()


def test_the_stamp_is_not_billed() -> None:
    first, second = _pair(latency_s=0.0)
    first.send([bytes(100)])
    assert first.wire_bytes([bytes(100)]) == second.wire_bytes(second.recv()) == 100


def test_closing() -> None:
    first, second = _pair(latency_s=0.001)
    first.send([b"last"])
    first.close()
    assert second.recv() == [b"last"]
    with pytest.raises(PeerClosed):
        second.recv()


@pytest.mark.parametrize("shape", [Shape(latency_s=0.04), Shape(latency_s=0.0, bytes_per_s=1.25e7)])
def test_a_shape_survives_a_command_line(shape: Shape) -> None:
    assert Shape.from_text(shape.to_text()) == shape


@pytest.mark.parametrize(
    "text", ["", "0.1", "x:1", "-1:1", "0.1:0", "0.1:-5", "0.1:x", "nan:1", "1e9:1", "0.1:nan"]
)
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(ConfigError, match="SECONDS:BYTES_PER_SECOND"):
        Shape.from_text(text)


def test_without_a_shape_a_channel_stays_what_it_is() -> None:
    first, second = local_pair()
    assert over(first, None) is first
    assert isinstance(over(second, Shape(latency_s=0.0)), Shaped)


def test_the_deadline_may_be_changed(clock: Clock) -> None:
    first, second = _pair(latency_s=10.0)
    second.recv_timeout_s = 1.0
    assert second.recv_timeout_s == 1.0
    first.send([b"late"])
    with pytest.raises(PeerTimeout):
        second.recv()
