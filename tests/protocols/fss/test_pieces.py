"""Large tensors in pieces: what arrives, and what it costs."""

from __future__ import annotations

import pytest
import torch

from parties.link import Link
from parties.threads import run_two_threads
from protocols.fss.pieces import PIECE_ELEMENTS, receive_in_pieces, send_in_pieces
from protocols.fss.ring import low


@pytest.mark.parametrize("elements", [0, 1, 1000, PIECE_ELEMENTS, 2 * PIECE_ELEMENTS + 3])
@pytest.mark.parametrize("bits", [13, 64])
def test_pieces_come_together_and_cost_what_the_whole_would(elements: int, bits: int) -> None:
    value = torch.arange(elements, dtype=torch.int64) * 0x9E3779B97F4A7C1 - 5

    def server(link: Link) -> int:
        send_in_pieces(link, elements, bits, "setup/w", lambda at: value[at])
        return link.meter.bill().total.online_bytes_to_client

    def client(link: Link) -> tuple[torch.Tensor, int]:
        received = receive_in_pieces(link, (elements, 1), bits, "setup/w")
        return received, link.meter.bill().total.rounds

    sent, (received, rounds) = run_two_threads(server, client)
    assert torch.equal(low(received, bits).flatten(), low(value, bits))
    assert sent == (elements * bits + 7) // 8
    assert rounds == 1
