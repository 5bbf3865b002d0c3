"""Compiling every kernel ahead: warm-ups of every form of model under every choice of protocols.

Kernels are compiled for the types of the arguments that they are called with. So they are not listed but
called, by models too small to take time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator

import numpy as np

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.variants import variant
from mpcinfer.suites.fss.ready import GPT2, LLAMA, warm_up
from mpcinfer.suites.kernel_mark import cache_folder, mark_warm
from parties.compiled import on_compile
from protocols.fss.gates.coarse_maximum import MAX_RING_BITS
from protocols.fss.plans import PLANS, is_faithful
from protocols.fss.registry import OPERATIONS
from protocols.kernels.entries import MIN_DOMAIN_BITS, Layout
from protocols.kernels.histogram import suffix_counts
from protocols.plan import Plan

_PLAN, _EXACT, _POLYNOMIAL, _NARROW = "fss", "fss-faithful", "fss-poly", "tiny-python"
_ROWS = 43
"""Tokens of a prompt: enough for kernels that start at 32 rows, in eights, with a rest."""
_LONG = 260
"""Tokens of a long prompt, whose row maxima compare counts by keys instead of tables."""
_COUNT_BITS = (3, 9)
"""Bits of counts: less than a byte, and more."""
_ELSEWHERE = {("truncation", name) for name in OPERATIONS["truncation"]} | {("reciprocal", "goldschmidt")}
"""Exact truncation is in a plan by itself; what is made of products alone has no kernel of its own, and this
refuses the sums of a softmax."""
_WIDE_WEIGHT = 4.0
"""A weight that takes more than 16 bits."""


def warm(tell: Callable[[int, int], None] | None = None) -> int:
    """Compiles whatever kernels of the suite `fss` the cache lacks, for this processor.

    Args:
        tell: is told how many are compiled, and of how many, as far as can be known; from any thread.

    Returns:
        How many were compiled.

    Raises:
        ConfigError: the cache folder is not the user's alone.
    """
    with on_compile(tell) as compiled:
        for plan, config, tokens, weight in _warm_ups():
            ranges = load_ranges_of(_NARROW) if is_faithful(plan) else dict[str, float]()
            warm_up(plan, config, ranges, tokens=tokens, weight=weight)
        _count_histograms()
    if cache_folder().writable:
        mark_warm()
    return compiled.count


def _warm_ups() -> Generator[tuple[Plan, ModelConfig, tuple[int, ...], float]]:
    """Plan, form of model, tokens of each pass, and a weight."""
    plan, small = PLANS[_PLAN], 2.0**-6
    forms = [GPT2, LLAMA, dataclasses.replace(GPT2, activation="relu"), variant("power4", GPT2)]
    for form in forms:
        yield plan, form, (_ROWS, 1), small
    yield plan, GPT2, (_ROWS, 1), _WIDE_WEIGHT
    yield plan, GPT2, (_LONG, 1), small
    for operation, protocols in OPERATIONS.items():
        for name in protocols:
            if name != plan.choices[operation] and (operation, name) not in _ELSEWHERE:
                for form in forms[:3]:
                    yield plan.replace(**{operation: name}), form, (_ROWS, 1), small
    yield PLANS[_POLYNOMIAL], variant("poly", GPT2), (_ROWS, 1), small
    # Exact truncation compares cell by cell: ranges as narrow as a real model's keep that short.
    yield PLANS[_EXACT], load_config(_NARROW), (1, 1), small


def _count_histograms() -> None:
    """Row maxima of every domain: these kernels know its size from their arguments' types."""
    for domain_bits in range(MIN_DOMAIN_BITS, MAX_RING_BITS + 1):
        for value_bits in _COUNT_BITS:
            layout = Layout(domain_bits, value_bits)
            vectors = np.zeros((1, layout.vector_bytes), np.uint8)
            suffix_counts(vectors, layout, np.zeros(1, np.uint8), np.array([0, 1]))
