"""A worker for tests of the fork server: says what it draws, what it is and what it was told, then waits."""

from __future__ import annotations

import os
import secrets
import ssl
import sys
from contextlib import suppress

import nacl.utils
import numpy as np
import zmq

from mpcinfer.service.worker_side import WorkerSide
from parties.randomness import AesCtrStream, SystemRandom

BROKEN = SystemRandom()
"""The broken twin: a stream that is begun before the fork, which every fork would go on with."""


def _next(stream: AesCtrStream) -> str:
    drawn = np.zeros(8, np.uint8)
    stream.fill(drawn)
    return drawn.tobytes().hex()


def main() -> None:
    """As `main` of any worker."""
    front = WorkerSide()
    terms = front.told()["terms"]
    drawn = [
        secrets.token_hex(8),
        ssl.RAND_bytes(8).hex(),
        nacl.utils.random(8).hex(),
        zmq.curve_keypair()[0].hex(),
    ]
    kept = None
    with suppress(OSError):
        kept = os.readlink(f"/proc/self/fd/{terms['kept']}")
    broken = "drawn"
    try:
        _next(BROKEN)
    except BaseException as error:
        broken = f"{type(error).__name__}: {error}"
    front.say("ready", drawn=drawn, broken=broken, terms=terms, parent=os.getppid(), kept=kept)
    sys.exit(front.told()["serve"]["status"])
