"""How the suite `two-party` computes its primitives, by name."""

from __future__ import annotations

FRAC_BITS = 16
"""Fraction bits of all values."""
CHOICE_FRAC_BITS = 1
"""Of one-hot rows: truncation drops one bit at least, and brings a table's entries to the width of others."""
MOST_ANSWERS = 1 << 28
"""Encrypted results of a run, of matrices and of vectors, over which statistical bounds hold: GPT-2's blocks
at 128 tokens take some 11 million of matrices."""
MOST_RING_BITS = 60
"""Widest ring: shares are shifted as int64."""

LINEAR = {"rlwe": "The client's mask, encrypted, times the server's weight, ahead; then one message a layer."}
PRODUCTS = {"transfer": "Beaver's triples by oblivious transfer, bit by bit of one factor."}
TRUNCATION = {
    "wrap": "The carry out of both shares from their top bits; it cannot fail, one unit off at most."
}
COMPARISON = {"digits": "Digits of four bits by oblivious look-up, then a tree of ANDs."}
