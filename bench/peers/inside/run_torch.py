"""In the clear: the client sends its input to the server, who computes and sends the result."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.peers.inside.clear import PROGRAMS
from bench.peers.inside.party import HOST, SERVER, Party


def main() -> None:
    """One party."""
    torch.set_num_threads(1)
    party = Party()
    shape: tuple[int, ...] = tuple(party.job["shape"])
    program, weights, x = PROGRAMS[party.case], party.weights(), party.input()
    tensors = {name: torch.from_numpy(value) for name, value in (weights or {}).items()}
    connection = _connected(party)

    def run() -> NDArray[np.float32]:
        if party.rank == SERVER:
            got = torch.from_numpy(_receive(connection, shape))
            y = program(got, tensors).numpy()
            connection.sendall(np.ascontiguousarray(y).data)
            return y
        assert x is not None
        connection.sendall(x.data)
        return _receive(connection, tuple(party.job["output_shape"]))

    with torch.no_grad():
        y = party.measure(run)
    output = None if party.rank == SERVER else y
    party.finish(output, rounds=2, versions={"torch": torch.__version__})


def _connected(party: Party) -> socket.socket:
    if party.rank == SERVER:
        listener = socket.create_server((HOST, party.job["listen"][SERVER]))
        party.barrier()
        connection, _ = listener.accept()
    else:
        party.barrier()
        connection = socket.create_connection((HOST, party.job["reach"][SERVER]))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket, shape: tuple[int, ...]) -> NDArray[Any]:
    data = np.empty(shape, dtype=np.float32)
    view = memoryview(data.reshape(-1).view(np.uint8))
    while view:
        got = connection.recv_into(view)
        if not got:
            raise ConnectionError("the other party went away")
        view = view[got:]
    return data


if __name__ == "__main__":
    main()
