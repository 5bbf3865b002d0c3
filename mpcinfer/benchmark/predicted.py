"""How long a benchmark will take, roughly, from its counted bill: so that nobody starts an hour unawares."""

from __future__ import annotations

from mpcinfer.benchmark.network import Network
from parties.bill import BillRow

START_S = 10.0
"""Processes start, load kernels and connect."""
ONLINE_BYTES_PER_S, OFFLINE_BYTES_PER_S, SETUP_BYTES_PER_S = 35e6, 250e6, 100e6
"""What two parties and a dealer get through on two cores; of the suite `fss`, others are faster a byte."""


def predicted_seconds(total: BillRow, network: Network, repeat: int) -> float:
    """Wall time of a case, its repetitions included. Within a factor of about three.

    Args:
        total: of the counted bill.
        repeat: repetitions, each of which starts its own processes.
    """
    online = total.online_bytes_to_server + total.online_bytes_to_client
    offline = total.offline_bytes_to_server + total.offline_bytes_to_client
    computing = online / ONLINE_BYTES_PER_S + offline / OFFLINE_BYTES_PER_S
    computing += total.setup_bytes / SETUP_BYTES_PER_S
    waiting = total.rounds * network.latency + 8 * (online + offline + total.setup_bytes) / network.bandwidth
    return repeat * (START_S + computing + waiting)
