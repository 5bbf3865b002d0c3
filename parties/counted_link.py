"""Frames between two parties that are booked and not sent."""

from __future__ import annotations

from parties.meter import Meter


class CountedLink:
    """Both ends of a link: charges frames, with depths as `Link` gives them, and no bytes on the wire.

    Args:
        meter: of both parties.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter, self._deepest_received = meter, [0, 0]

    def send(self, payload_bytes: int, *receivers: int) -> None:
        """A frame of as many bytes to each of the receivers, at once."""
        depths = [self._deepest_received[1 - receiver] + 1 for receiver in receivers]
        for receiver, depth in zip(receivers, depths, strict=True):
            self._deepest_received[receiver] = max(self._deepest_received[receiver], depth)
            self._meter.charge_frame(receiver, payload_bytes=payload_bytes, wire_bytes=0, depth=depth)
