"""Who computes: channel, wire format, keys, randomness, handshake, meter."""

PART_OF = "mpcinfer"
"""Whose package this is: the name is not rare, and mpcinfer checks that it found its own."""
