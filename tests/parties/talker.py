"""A party as a process of its own, for tests: exchanges small arrays until something ends it.

    python talker.py listen|connect ENDPOINT OWN.secret PEER.public

Prints its endpoint, then `talking`, then the name of the error that ended it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from parties.errors import MpcInferError
from parties.keys import load_public, load_secret
from parties.link import Link
from parties.meter import Meter
from parties.tcp import Listener, connect
from tests.deadlines import HANG_S


def main() -> None:
    """Talks to one peer for as long as both live."""
    how, endpoint, own, peer = sys.argv[1:]
    keys, peer_key = load_secret(Path(own)), load_public(Path(peer))
    if how == "listen":
        listener = Listener(endpoint, keys, [peer_key])
        print(listener.endpoint, flush=True)
        channel = listener.accept(HANG_S, HANG_S)
    else:
        channel = connect(endpoint, keys, peer_key, connect_timeout_s=HANG_S, recv_timeout_s=HANG_S)
    with Link(channel, Meter(), 0 if how == "listen" else 1) as link:
        try:
            for number in range(1_000_000):
                link.exchange([np.full(100, number, np.uint64)], 64)
                if number == 10:
                    print("talking", flush=True)
        except MpcInferError as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    main()
