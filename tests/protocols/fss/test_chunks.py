"""Large tensors in pieces: what arrives, and what it costs."""

from __future__ import annotations

import pytest
import torch

from parties.errors import PeerMismatch
from parties.link import Link
from parties.local import local_pair
from parties.meter import Phase
from parties.threads import run_two_threads
from parties.trace import Trace
from parties.wire import Spec
from protocols.fss.preprocessing.chunks import (
    BATCH_CHUNKS,
    CHUNK_ELEMENTS,
    FlowControl,
    receive_in_chunks,
    send_in_chunks,
)
from protocols.fss.ring import low


@pytest.mark.parametrize("elements", [0, 1, 1000, CHUNK_ELEMENTS, 2 * CHUNK_ELEMENTS + 3])
@pytest.mark.parametrize("bits", [13, 64])
def test_chunks_come_together_and_cost_what_the_whole_would(elements: int, bits: int) -> None:
    value = torch.arange(elements, dtype=torch.int64) * 0x9E3779B97F4A7C1 - 5

    def server(link: Link) -> int:
        send_in_chunks(link, elements, bits, "setup/w", lambda at: value[at], FlowControl(link))
        return link.meter.bill().total.online_bytes_to_client

    def client(link: Link) -> tuple[torch.Tensor, int]:
        received = receive_in_chunks(link, (elements, 1), bits, "setup/w", FlowControl(link))
        return received, link.meter.bill().total.rounds

    sent, (received, rounds) = run_two_threads(server, client)
    assert torch.equal(low(received, bits).flatten(), low(value, bits))
    assert sent == (elements * bits + 7) // 8
    assert rounds == 1


def nothing(at: slice) -> torch.Tensor:
    return torch.zeros(at.stop - at.start, dtype=torch.int64)


@pytest.mark.parametrize("batches", [0.5, 1, 2, 3.5])
def test_a_sender_is_two_batches_ahead_at_most(batches: float) -> None:
    count = int(batches * BATCH_CHUNKS)
    ahead: list[int] = []
    channels = local_pair()
    traces = (Trace(channels[0], keep_cache=True), Trace(channels[1], keep_cache=True))

    def server(link: Link) -> None:
        flow = FlowControl(link)
        for _ in range(count):
            send_in_chunks(link, 1, 8, "setup/w", nothing, flow)
        flow.settle()

    def client(link: Link) -> None:
        flow = FlowControl(link)
        for had in range(count):
            ahead.append(len(traces[0].sent) - had)
            receive_in_chunks(link, (1,), 8, "setup/w", flow)

    run_two_threads(server, client, channels=traces)
    assert max(ahead) <= 2 * BATCH_CHUNKS
    assert len(traces[1].sent) == count // BATCH_CHUNKS


def test_a_receipt_of_something_else() -> None:
    def server(link: Link) -> None:
        flow = FlowControl(link)
        for _ in range(BATCH_CHUNKS):
            send_in_chunks(link, 1, 8, "setup/w", nothing, flow)
        with pytest.raises(PeerMismatch, match=f"a receipt of {BATCH_CHUNKS} pieces"):
            flow.settle()

    def client(link: Link) -> None:
        for _ in range(BATCH_CHUNKS):
            link.recv([Spec(8, (1,))], "setup/w")
        with link.meter.phase(Phase.CONTROL):
            link.send_document({"received": BATCH_CHUNKS - 1}, "setup")

    run_two_threads(server, client)
