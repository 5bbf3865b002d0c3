"""A worker for tests of the fork server: says what it draws, what it is and what it was told, then waits."""

from __future__ import annotations

import os
import secrets
import ssl
import sys
from contextlib import suppress

import nacl.utils
import zmq

from mpcinfer.service.worker_side import WorkerSide


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
    front.say("ready", drawn=drawn, terms=terms, parent=os.getppid(), kept=kept)
    sys.exit(front.told()["serve"]["status"])
