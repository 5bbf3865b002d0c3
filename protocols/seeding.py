"""Seeds of 16 uniform bytes, and what is derived from them: the same for every suite."""

from __future__ import annotations

import hashlib

from parties.randomness import AesCtrStream, Randomness

SEED_BYTES = 16
SEED_LABEL = "dealer"
"""Under this label the bill has seeds that came from a dealer."""


def derive_key(seed: bytes, purpose: str) -> bytes:
    """A 16-byte key for one purpose from a uniform 16-byte seed (BLAKE2b in keyed mode)."""
    return hashlib.blake2b(purpose.encode(), key=seed, digest_size=SEED_BYTES).digest()


def weight_stream(seed: bytes, name: str, shape: tuple[int, ...]) -> Randomness:
    """Draws the mask of a weight, in order, as 64-bit words; afresh whenever it is asked for."""
    return AesCtrStream(derive_key(seed, f"weight {name} {list(shape)}"))
