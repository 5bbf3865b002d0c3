"""A digest of everything that two parties send and get in a few calls: the same on every processor.

python -m tests.protocols.two_party.ot.digest      prints the kernel set and the digest
"""

from __future__ import annotations

import hashlib

import numpy as np

from parties.randomness import InsecureTestRandom
from protocols.kernels.processor import kernel_set
from protocols.two_party.ot import schedule
from protocols.two_party.ot.stages import Stage
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from tests.protocols.two_party.ot.pair import run

SMALL = (Stage(6, 8, 100), Stage(6, 16, 150), Stage(7, 16, 300))
"""Stages of no security, which take little time."""


def calls(ot: TwoPartyOt) -> list[bytes]:
    """One call of every conversion, on inputs of this party's own."""
    rank = ot.session.rank
    bits = InsecureTestRandom(rank).uint8((64,)) & 1
    wide = bits.astype(np.uint64)
    ot.reserve(0, 2000)
    results = [
        ot.bit_products(bits[:8], 64),
        *ot.bit_triples(100),
        ot.additive_bit_products(bits, 9),
        ot.bit_times_value(np.ones((64, 5), np.uint64) if rank == 0 else bits, (64, 5), 8),
        *ot.dabits(64, 33),
        ot.products(wide, 8),
    ]
    if rank == 0:
        ot.send_chosen(np.zeros((64, 4), np.uint64), 3)
    else:
        results.append(ot.receive_chosen(wide, 4, 3))
    return [result.tobytes() for result in results]


def digest() -> str:
    """Of both parties' messages and results."""
    stages, schedule.STAGES = schedule.STAGES, SMALL
    try:
        made = run(calls)
    finally:
        schedule.STAGES = stages
    whole = hashlib.sha256()
    for part in (*made.messages, *made.results):
        whole.update(b"|".join(part))
    return whole.hexdigest()


if __name__ == "__main__":
    print(kernel_set(), digest())
