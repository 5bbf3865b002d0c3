"""What a byte stream becomes on a wire: TCP segments in Ethernet frames."""

from __future__ import annotations

SEGMENT_BYTES = 1448
"""Payload of a full segment: 1500 bytes of an Ethernet frame, without IPv4 (20), TCP (20) and its time
stamps (12)."""
SEGMENT_HEADERS = 66
"""Those 52 and Ethernet's own 14; what `tc netem` and `tc tbf` charge a segment besides its payload."""


def line_bytes(stream_bytes: float) -> float:
    """Bytes that a stretch of a TCP stream takes of a link's bandwidth, headers of full segments included."""
    return stream_bytes * (1 + SEGMENT_HEADERS / SEGMENT_BYTES)
