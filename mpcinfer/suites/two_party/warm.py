"""Compiling every kernel ahead: both parties make one of every correlation, and take it.

Kernels are compiled for the types of the arguments that they are called with. So they are not listed but
called, on few numbers where sizes do not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mpcinfer.suites.kernel_mark import cache_folder, mark_warm
from parties.compiled import on_compile
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.threads import run_two_threads
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.plans import KERNEL_SOURCES
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.source import TwoPartySource
from protocols.two_party.vectors import FEWEST

_RING_BITS, _PATIENCE_S = 48, 600.0
_ROWS, _INNER = 24, 40
_FACTORS = ((2, 8), (_ROWS, _INNER))
"""Of products of private matrices: few are multiplied by transfer, many by encryption."""


def warm(tell: Callable[[int, int], None] | None = None) -> int:
    """Compiles whatever kernels of the suite `two-party` the cache lacks, for this processor.

    Args:
        tell: is told how many are compiled, and of how many, as far as can be known; from any thread.

    Returns:
        How many were compiled.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    counting = CountingArithmetic(Meter(timed=False), _RING_BITS, FRAC_BITS)
    _every_primitive(counting)

    def party(link: Link) -> None:
        source = TwoPartySource(link)
        source.announce(counting.requests)
        _every_primitive(TwoPartyArithmetic(link, source, _RING_BITS, FRAC_BITS))

    with on_compile(tell) as compiled:
        run_two_threads(party, party, timeout_s=_PATIENCE_S)
    if cache_folder().writable:
        mark_warm(*KERNEL_SOURCES)
    return compiled.count


def _every_primitive(executor: Arithmetic) -> None:
    """Vectors of two sizes, as many are multiplied by encryption and few by transfer."""

    def own(owner: int, *shape: int) -> torch.Tensor | None:
        return torch.full(shape, 0.5) if executor.rank == owner else None

    weight = executor.weight("weight", own(SERVER, _INNER, _ROWS), (_INNER, _ROWS))
    tied = executor.weight("tied", own(SERVER, _ROWS, _INNER), (_ROWS, _INNER))
    for count in (7, FEWEST + 1):
        x = executor.share_from(CLIENT, own(CLIENT, count), (count,))
        y = executor.share_from(SERVER, own(SERVER, count), (count,))
        executor.square(executor.mul(x, y))
        executor.select(y, executor.less_than_zero(x))
    for rows, inner in _FACTORS:
        left = executor.share_from(CLIENT, own(CLIENT, 1, rows, inner), (1, rows, inner))
        right = executor.share_from(SERVER, own(SERVER, 1, inner, rows), (1, inner, rows))
        executor.matmul(left, right)
    for tokens in (1, _ROWS):
        x = executor.share_from(CLIENT, own(CLIENT, tokens, _INNER), (tokens, _INNER))
        executor.linear(x, weight)
        executor.open_to(CLIENT, executor.linear(x, tied, transposed=True))
