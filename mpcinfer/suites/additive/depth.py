"""The depth of a model under a polynomial plan: the program of a private run, on levels."""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.models.depth import DepthReport, DepthRow
from mpcinfer.suites.arithmetic.passes import run_passes
from mpcinfer.suites.requests import Run
from parties.meter import Meter
from protocols.additive.registry import resolve
from protocols.arithmetic.depth_arithmetic import SLOTS, DepthArithmetic
from protocols.plan import Plan


def count_depth(plan: Plan, run: Run) -> DepthReport:
    """As `Suite.depth`."""
    products, levels = (_counted(plan, run, plain_level) for plain_level in (0, 1))
    depths, all_levels = _by_part(products.deepest), _by_part(levels.deepest)
    kind_of = {row.label: row.kind or "other" for row in products.meter.bill().rows}
    parts: dict[str, DepthRow] = {}
    kinds: dict[str, DepthRow] = {}
    for label, found in products.operations.items():
        name = label.split(".")[0]
        for table, key in ((parts, name), (kinds, kind_of[label])):
            row = table.setdefault(key, DepthRow(name=key))
            row.products += found.products
            row.plain_products += found.plain_products
            row.rotations += found.rotations
    deepest = highest = 0
    for name, row in parts.items():
        row.depth, row.levels = (
            max(0, depths.get(name, 0) - deepest),
            max(0, all_levels.get(name, 0) - highest),
        )
        deepest, highest = deepest + row.depth, highest + row.levels
    return DepthReport(slots=SLOTS, parts=list(parts.values()), kinds=list(kinds.values()))


def _counted(plan: Plan, run: Run, plain_level: int) -> DepthArithmetic:
    executor = DepthArithmetic(Meter(timed=False), plain_level=plain_level)
    run_passes(executor, resolve(plan), run)
    return executor


def _by_part(deepest: Mapping[str, int]) -> dict[str, int]:
    """The highest level by the first part of labels."""
    result: dict[str, int] = {}
    for label, level in deepest.items():
        name = label.split(".")[0]
        result[name] = max(result.get(name, 0), level)
    return result
