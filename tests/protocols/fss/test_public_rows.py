"""Rows of a public table at the client's ids, masked at the server."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER, Meter
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.executors.party import Party
from protocols.fss.gates.opening import OpenToClient
from protocols.fss.gates.public_rows import OwnTokens, PublicRows
from protocols.fss.preprocessing.matrix import Matrix, PublicCopy
from protocols.fss.ring import low
from protocols.share import Held
from tests.protocols.fss.harness import run
from tests.protocols.fss.replay import Replay
from tests.protocols.fss.uniformity import assert_uniform

TABLE = torch.tensor([[-100, 5, 0], [127, -1, 2], [3, 4, -128], [0, 0, 1]])
IDS = [2, 0, 3, 2, 1]
BITS = 9


def table(executor: Executor) -> Matrix:
    """The server's table; the client has it modulo 2^9, as it came."""
    value = TABLE
    if isinstance(executor, Party) and executor.rank == CLIENT:
        value = low(TABLE, BITS)
    return Matrix("t", (4, 3), 4, BITS, TABLE, masked=False, public=PublicCopy(value, BITS))


def knows(executor: Executor) -> bool:
    return isinstance(executor, Clear | Replay) or (isinstance(executor, Party) and executor.rank == CLIENT)


def rows(executor: Executor, *, ids: list[int] = IDS) -> Shares:
    own = executor.one(OwnTokens(ids if knows(executor) else None, len(ids), 4))
    return executor.apply(OpenToClient(), executor.one(PublicRows(table(executor)), own))


def test_rows_come_out_whole() -> None:
    result = run(rows, [])
    assert torch.equal(result.secret(), TABLE[IDS].unsqueeze(0))
    assert torch.equal(result.clear[0].value, TABLE[IDS].unsqueeze(0))
    assert result.shapes[0].shape == (1, 5, 3)
    assert result.shapes[0].held is Held.MASKED
    assert result.shapes[0].frac_bits == 4


def test_the_bill_is_what_is_declared() -> None:
    """One message of 5 x 3 elements of 9 bits, and nothing of the dealer's; then it is published."""
    result = run(rows, [])
    message = (15 * BITS + 7) // 8
    for bill in (*result.bills, result.counted):
        assert bill.rounds == 2
        assert bill.online_bytes_to_server == bill.online_bytes_to_client == message
        assert bill.offline_bytes_to_server == bill.offline_bytes_to_client == 0
    assert result.correlations == (0, 0, 0)


@pytest.mark.parametrize("ids", [[0] * 40, [2] * 40])
def test_what_the_server_gets_is_uniform(ids: list[int]) -> None:
    seen: list[torch.Tensor] = []
    for seed in range(60):
        frames = run(lambda executor: rows(executor, ids=ids), [], seed=seed).frames
        seen += [frame.arrays[0] for frame in frames if frame.sender == CLIENT]
        assert [frame.sender for frame in frames] == [SERVER, CLIENT]
    assert_uniform(torch.cat([value.flatten() for value in seen]), BITS)


def test_a_private_table_is_refused() -> None:
    private = dataclasses.replace(table(Clear(Meter())), public=None)
    with pytest.raises(ConfigError, match="t is not public"):
        PublicRows(private)
