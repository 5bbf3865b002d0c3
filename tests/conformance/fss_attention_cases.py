"""Gates of attention: causal and patterned products, and pairs."""

from __future__ import annotations

from protocols.fss.gates.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.gates.pairs import ReadPairs, SumOfPairs
from protocols.fss.gates.pattern_blocks import PatternBlocks
from protocols.fss.gates.polynomial import Product
from protocols.key_pattern import KeyPattern
from tests.conformance.fss_case import Case, Domain


def _causal(blocks: CausalBlocks, later: int, name: str) -> list[Case]:
    """Two blocks, of one group of rows: 4 queries and 6 keys, `later` entries in the second."""
    factor = Domain(-16, 16, 14, 3)
    product, mix = CausalProduct(blocks), CausalMix(blocks)
    first, second = (blocks.lengths[0],), (later,)
    return [
        Case(
            f"{name} product",
            CausalProduct,
            lambda m, q, k: m.apply(product, q, k, m.one(Product(14), k)),
            (factor, factor),
            (((4, 3), (6, 3)), ((2, 4, 1), (2, 6, 1)), ((4, 0), (6, 0))),
            ((512, 4, 1), (512, 6, 1)),
        ),
        Case(
            f"{name} mix",
            CausalMix,
            lambda m, *x: m.apply(mix, *x, m.one(Product(14), x[-1])),
            (factor, factor, factor),
            ((first, second, (6, 2)), ((2, *first), (2, *second), (2, 6, 1))),
            ((512, *first), (512, *second), (512, 6, 1)),
        ),
    ]


def _pairs() -> list[Case]:
    factor = Domain(-16, 16, 20, 3)
    return [
        Case(
            "sum of pairs",
            SumOfPairs,
            lambda m, x, v: m.apply(SumOfPairs(), x, v, m.one(Product(20), v)),
            (factor, factor),
            (((4, 3), (4, 2)), ((2, 4, 1), (2, 4, 1))),
            ((512, 4, 1), (512, 4, 1)),
        ),
        Case(
            "reading pairs",
            ReadPairs,
            lambda m, x, s: m.apply(ReadPairs(), x, s, m.one(Product(20), s)),
            (factor, factor),
            (((4, 3), (6, 2)), ((2, 4, 1), (2, 1, 1))),
            ((512, 4, 1), (512, 1, 1)),
        ),
    ]


def _patterned() -> list[Case]:
    """Two heads of 2 queries and 4 keys each, that see 3 + 4 and 2 + 2 keys."""
    blocks = PatternBlocks((KeyPattern(), KeyPattern(1.0, 0.5, 1)), 2, 4)
    factor, count = Domain(-16, 16, 14, 3), sum(blocks.lengths)
    product, mix = CausalProduct(blocks), CausalMix(blocks)
    return [
        Case(
            "patterned product",
            CausalProduct,
            lambda m, q, k: m.apply(product, q, k, m.one(Product(14), k)),
            (factor, factor),
            (((4, 3), (8, 3)), ((2, 4, 1), (2, 8, 1))),
            ((512, 4, 1), (512, 8, 1)),
        ),
        Case(
            "patterned mix",
            CausalMix,
            lambda m, *x: m.apply(mix, *x, m.one(Product(14), x[-1])),
            (factor, factor),
            (((count,), (8, 2)), ((2, count), (2, 8, 1))),
            ((512, count), (512, 8, 1)),
        ),
    ]


def attention_cases() -> list[Case]:
    """All of them."""
    return [
        *_causal(CausalBlocks(4, 6, (0, 1, 4)), 4 + 5 + 6, "causal"),
        *_causal(CausalBlocks(4, 6, (0, 1, 4), causal=False), 3 * 6, "whole"),
        *_patterned(),
        *_pairs(),
    ]
