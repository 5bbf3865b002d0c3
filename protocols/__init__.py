"""How it is computed on shares: a file an operation, a class a protocol, a line in the registry."""

PART_OF = "mpcinfer"
"""Whose package this is: the name is not rare, and mpcinfer checks that it found its own."""
