"""Sums of a text's rows where the client alone knows which rows are padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.models.padding import is_padding
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.linear import MaskAtServer, ToServerHeld
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.gates.polynomial import Product
from protocols.share import Share


def sum_without_padding(executor: Executor, x: Share, padding: Sequence[int] | None) -> Share:
    """The sum of each sequence's rows that are no padding, [B, T, D] -> [B, 1, D], held by the server.

    1. The client's zeros and ones, a number a row, are opened as masked values.  2. The server publishes the
    rows, masked.  3. Their product with the numbers is local, and so is its sum, exactly: padding adds
    nothing.  4. The client's summand goes to the server.

    Args:
        x: held by the server, in a ring that holds the sum.
        padding: rows at the start of each sequence, at the client and in the clear.

    Cost: a round and 2 messages; in each, ring_bits an element: of rows both ways, of x to the client, of the
        sum to the server. Key: as `Product`.
    Reveals: nothing: what is opened is masked.
    """
    (size, count, _), bits = x.shape, x.ring_bits
    own = None if padding is None else (~is_padding(padding, count)).to(torch.int64)[..., None]
    nothing = Share(torch.zeros(size, count, 1, dtype=torch.int64), 0, bits)
    (chosen,) = executor.apply(Open(), executor.add_at_client(nothing, own))
    (rows,) = executor.apply(OpenToClient(), executor.one(MaskAtServer(), x))
    products = executor.one(Product(bits), rows, chosen)
    turned = executor.map(products, lambda v: v.transpose(-1, -2))
    total = executor.map(executor.sum_last(turned), lambda v: v.transpose(-1, -2))
    return executor.one(ToServerHeld(), total)
