"""Frames between two parties that are booked and not sent."""

from __future__ import annotations

from parties.flights import Flights
from parties.meter import Clock, Meter


class CountedLink:
    """Both ends of a link: charges frames, with depths as `Link` gives them, and no bytes on the wire.

    Args:
        meter: of both parties.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._flights = {Clock.ONLINE: Flights(), Clock.OFFLINE: Flights()}

    def send(self, payload_bytes: int, *receivers: int) -> None:
        """A frame of as many bytes to each of the receivers, at once."""
        clock = self._meter.clock
        flights = self._flights[clock] if clock is not None else Flights()
        depths = [flights.send(receiver) for receiver in receivers]
        for receiver, depth in zip(receivers, depths, strict=True):
            flights.arrive(receiver, depth)
            self._meter.charge_frame(receiver, payload_bytes=payload_bytes, wire_bytes=0, depth=depth)
