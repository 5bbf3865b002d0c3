"""A cap of scores, h tanh(s / h), between the product of queries with keys and softmax."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.formats import cap_formats
from mpcinfer.suites.fss.precision import Precision
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.opening import Open
from protocols.fss.operations.rescale import narrow, truncate_locally
from protocols.fss.operations.suite import FssSuite
from protocols.share import Share


def capped_scores(
    executor: Executor,
    suite: FssSuite,
    products: Sequence[Share],
    widths: AttentionWidths,
    p: Precision,
    cap: float,
) -> tuple[Share, ...]:
    """Additive scores of every block, capped; additive again, in the ring that softmax reads.

    Cost: 2 rounds; where truncation is exact, as many more as `TruncateExactly` has, and one.
    """
    opened = executor.apply(Open(), *(truncate_locally(executor, product, p.score) for product in products))
    formats = cap_formats(suite.cap, widths, p, cap, exact_truncation=executor.exact_truncation)
    indices = narrow(executor, *((x, formats.index_frac, formats.index_bits) for x in opened))
    capped = suite.cap(executor, formats, indices)
    return tuple(truncate_locally(executor, x, formats.frac_bits) for x in capped)
