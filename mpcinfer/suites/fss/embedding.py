"""From rows of the embedding to the residual."""

from __future__ import annotations

import math

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.fss.widths import Widths
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.linear import MaskAtServer, ToServerHeld
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import nearest, open_truncated, truncate_at_server, truncate_locally
from protocols.share import Share


def embedded_rows(executor: Executor, config: ModelConfig, widths: Widths, x: Share) -> Share:
    """Rows held by the server [B, T, D] as the residual, extended to its ring from the embedding's.

    Rows of blocks with layer norms before their parts are centred; where norms come last, the tables are
    centred in cleartext. Where blocks have no norms the server keeps the rows.
    """
    p = widths.precision
    if config.norm_order == "post":
        bits = x.ring_bits - max(p.embedding - p.residual, 0)
        return open_truncated(executor, (x, min(p.embedding, p.residual), bits))[0]
    (x,) = open_truncated(executor, (x, p.embedding, x.ring_bits))
    if not config.row_norms:
        wide = widths.held_bits + p.embedding - p.residual
        held = executor.one(ToServerHeld(), executor.one(Product(wide), executor.view(x)))
        if p.embedding == p.residual:
            return held
        held = executor.one(MaskAtServer(), held) if executor.exact_truncation else held
        return truncate_at_server(executor, held, p.residual, widths.held_bits)
    centred = config.norm == "layernorm"
    extra = math.ceil(math.log2(config.width)) + 4 if centred else 0
    wide = widths.residual_bits + (p.embedding - p.residual) + extra
    rows = executor.one(Product(wide), executor.view(x))
    if centred:
        mean = executor.mul_integer(executor.sum_last(rows), round(2**extra / config.width), extra)
        rows = executor.sub(executor.mul_integer(rows, 1 << extra, extra), mean)
    (rows,) = executor.apply(Open(), truncate_locally(executor, rows, p.residual))
    (rows,) = nearest(executor, (rows, p.residual, widths.residual_bits))
    return rows
