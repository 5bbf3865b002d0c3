"""A prefix's states, opened once; and what softmax attention adds to its rows from one: sums of features of
keys, shared by the two parties. Power 2's are read by `power_state.py`.

A state counts as one more key of score 0 in every row, whose maximum is thus at least 0. Beside the steps of
`softmax_attention`:

1. phi(q) = (c q + 1)^2 of the masked queries, opened with the scores.
2. phi(q) times the state, a product of masked matrices; opened with the row's maximum.
3. exp(-maximum), one look-up; opened.  4. Times the product: added to the row's sum, and to weights times
   values.

Source: NTK-Attention (prefix as two trained sums), with one square in place of its ELU; the rest is this
project's own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from mpcinfer.models.attention_state import AttentionState, FeatureMap, check_features, feature_scale
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.prefix_formats import BESIDE_FRAC, LARGEST_READ, PREFIX_FRAC, sum_frac
from mpcinfer.models.state_cache import require_no_adapter
from mpcinfer.prefix.adapter import state_shape
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.precision import Precision, ring
from parties.errors import ConfigError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare, to_cached
from protocols.fss.gates.causal import CausalBlocks, CausalProduct
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.gates.square import Square
from protocols.fss.operations.exponential_protocols import ExponentialFormats, ExponentialProtocol
from protocols.fss.operations.rescale import in_scale, nearest, truncate_locally, view
from protocols.meta_tensors import no_data
from protocols.share import Share

_FEATURE, _READ, _FACTOR = 10, 8, 26
"""Fraction bits of phi(q), of what it reads of the state, and of exp of minus the maximum."""
STATE = "state"
"""The span of what is done for a state."""


def require_features(
    features: FeatureMap | None, config: ModelConfig, *, padded: bool, chunk: int = 0
) -> None:
    """Raises ConfigError where a session cannot have such a prefix, or none beside states (`Plan.chunk`)."""
    require_no_adapter(features, chunk)
    if features is None:
        return
    if features == "elu":
        raise ConfigError(
            "features elu are for runs in float: under fss a prefix has features square, a multiplication "
            "where elu takes a comparison and an exponential (`mpcinfer prefix --help`)"
        )
    if padded:
        raise ConfigError(
            "a prefix goes with prompts that are not padded: say so (--equal-lengths, of one --exact-lengths)"
        )
    if config.patterns:
        raise ConfigError("a prefix is read by every row of all heads: not with patterns of keys")
    check_features(features, config.attention, config.power)


def state_bits(widths: AttentionWidths) -> int:
    """Ring bits of a layer's state, and of what a query reads of it."""
    if widths.state is not None:
        return widths.state.read_bits
    largest = LARGEST_READ * max(widths.weighting.output, 1.0)
    return ring(largest, _FEATURE + PREFIX_FRAC, slack=2, what="a prefix")


def opened_states(
    executor: Executor,
    config: ModelConfig,
    widths: Sequence[AttentionWidths],
    features: FeatureMap,
    own: PrefixPart | None,
) -> list[AttentionState[Share]]:
    """Every layer's state, opened under masks that stay, together; what is beside them stays as summands.

    Args:
        widths: of every layer.
        own: this party's summands; in the clear the states themselves; None elsewhere.

    Cost: 1 round, `state_bits` an element each way; `state_bits` an element of key, once a conversation.
    Reveals: sums plus masks that are uniform in their rings.
    """
    shape, frac = state_shape(config, features), sum_frac(features)
    values = [no_data(shape)] * config.layers if own is None else own.sums
    shares = [Share(value, frac, state_bits(each)) for value, each in zip(values, widths, strict=True)]
    beside: Sequence[Share | None] = [None] * config.layers
    if features == "pairs":
        more = [no_data((*shape[:2], 1, 1))] * config.layers if own is None else own.beside
        beside = [
            Share(value, BESIDE_FRAC, state_bits(each)) for value, each in zip(more, widths, strict=True)
        ]
    with executor.meter.span(STATE, STATE):
        opened = executor.apply(Open(), *shares)
        each = zip(opened, beside, strict=True)
        return [AttentionState(features, to_cached(executor, x), added) for x, added in each]


def query_features(executor: Executor, q: Share, widths: AttentionWidths) -> Share:
    """(c q + 1)^2 of masked queries [B, H, T, K], additive, as it is to be opened."""
    x = executor.scaled(q, round(math.log2(feature_scale(q.shape[-1]))))
    x = executor.add_public(x, 1 << x.frac_bits)
    squared = executor.one(Square(state_bits(widths) + 2 * x.frac_bits - _FEATURE), executor.view(x))
    return truncate_locally(executor, squared, _FEATURE)


def read_state(
    executor: Executor, opened: Share, state: AttentionState[Share], widths: AttentionWidths
) -> Share:
    """Opened features [B, H, T, R] times the state: additive [B, H, T, K + 1], as it is to be opened."""
    (phi,) = nearest(executor, (opened, _FEATURE, state_bits(widths)))
    sums, size, queries = state.sums, phi.shape[0], phi.shape[-2]
    assert isinstance(sums, CachedShare)
    columns = sums.arranged(lambda t: t.transpose(-1, -2).expand(size, -1, -1, -1))
    every = CausalBlocks.whole(queries, columns.shape[-2], causal=False)
    packed = executor.one(CausalProduct(every), phi, columns, columns.summand)
    rows = executor.map(packed, lambda t: t.reshape(*t.shape[:-1], queries, -1))
    return truncate_locally(executor, rows, _READ)


def added_by_state(
    executor: Executor,
    exponential: ExponentialProtocol,
    formats: ExponentialFormats,
    peak: Share,
    read: Share,
    widths: AttentionWidths,
    p: Precision,
) -> tuple[Share, Share]:
    """What is added to weights times values, and to rows' sums: both additive, in their scales.

    Args:
        formats: of the scores' exponentials.
        peak: masked [B, H, T], each row's maximum, at least 0, as an index of exp.
        read: opened, of `read_state`.

    Cost: 2 rounds.
    """
    formats = dataclasses.replace(formats, frac_bits=_FACTOR, ring_bits=_FACTOR + 3, low=0.0, centred=False)
    (factor,) = exponential(executor, formats, peak)
    (factor,) = executor.apply(Open(), truncate_locally(executor, factor, _FACTOR))
    factor = executor.map(view(executor, factor, _FACTOR), lambda t: t.unsqueeze(-1))
    read = view(executor, read, _READ)
    targets = [
        (slice(None, -1), p.power + p.value, widths.mix_bits),
        (slice(-1, None), p.power, widths.sum_bits),
    ]
    results: list[Share] = []
    for columns, frac, bits in targets:
        part = executor.map(read, lambda t, at=columns: t[..., at])
        product = executor.one(Product(bits + _FACTOR + _READ - frac), factor, part)
        results.append(truncate_locally(executor, in_scale(executor, product, frac, bits), frac))
    return results[0], results[1]


def with_zero(executor: Executor, packed: Share, lengths: Sequence[int]) -> Share:
    """Rows packed end to end on the last axis, each with a public 0 after it."""
    zero = executor.map(packed, lambda t: torch.zeros_like(t[..., :1]))
    joined, places, start = executor.concat([packed, zero], -1), list[int](), 0
    for length in lengths:
        places += [*range(start, start + length), packed.shape[-1]]
        start += length
    at = torch.tensor(places)

    def arrange(t: torch.Tensor) -> torch.Tensor:
        return no_data((*t.shape[:-1], len(places))) if t.is_meta else t[..., at]

    return executor.map(joined, arrange)
