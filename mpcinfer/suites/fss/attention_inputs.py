"""Queries, keys and values, published for the products that read them."""

from __future__ import annotations

from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.precision import Precision
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import to_cached
from protocols.fss.gates.linear import MaskAtServer
from protocols.fss.gates.widening import Widen
from protocols.fss.operations.rescale import open_truncated
from protocols.share import Held, Share


def publish_inputs(
    executor: Executor, widths: AttentionWidths, p: Precision, q: Share, k: Share, v: Share
) -> tuple[Share, Share, Share]:
    """All three published together, each in the ring of the product that reads it; keys and values kept.

    Where the linear layer before would need over 64 bits for that, they are published in a narrow ring,
    and their upper bits opened.
    """
    q, k, v = published_inputs(executor, widths, p, q, k, v)
    with executor.meter.span("kept", "matmul"):
        return q, to_cached(executor, k), to_cached(executor, v)


def published_inputs(
    executor: Executor, widths: AttentionWidths, p: Precision, q: Share, k: Share, v: Share
) -> tuple[Share, ...]:
    """As `publish_inputs`, nothing kept."""
    k, v = (executor.one(MaskAtServer(), x) if x.held is Held.SERVER_HELD else x for x in (k, v))
    fractions = (p.query, p.key, p.value)
    formats = list(zip((q, k, v), fractions, widths.input_bits, strict=True))
    products, values = widths.extended
    extended = (products, products, values)
    least = widths.qkv_integer
    published = open_truncated(
        executor,
        *(
            (x, frac, min(least + frac, x.ring_bits - x.frac_bits + frac) if again else bits)
            for (x, frac, bits), again in zip(formats, extended, strict=True)
        ),
    )
    if any(extended):
        again = list(zip(published, formats, extended, strict=True))
        gate = Widen(*(bits for _, (_, _, bits), narrow in again if narrow))
        wide = iter(executor.apply(gate, *(x for x, _, narrow in again if narrow)))
        published = tuple(next(wide) if narrow else x for x, _, narrow in again)
    return published
