"""Power attention over a state: sums over pairs of keys in place of the keys, read by pairs of queries.

Reading, beside the steps of `power_attention`, in its rounds where truncation is probabilistic:

1. Products x_a x_b, a <= b, of masked queries; opened together with the scores.
2. Pairs times the state, which was opened when it last changed: nothing is sent.

Moving keys into it: pairs of the keys, opened; their product with the values, added to what was there; that
is opened under a fresh mask, which stays until more is added. Two rounds, three where heads have an offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from mpcinfer.suites.fss.attention_widths import AttentionWidths, Weighting
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.state_widths import StateWidths, state_widths
from parties.errors import ConfigError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.causal import CausalBlocks, CausalMix
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import in_scale, nearest, truncate_locally, view
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Share


def opened_state(executor: Executor, sums: Share) -> CachedShare:
    """Additive sums [.., R, K + 1], for any number of queries to read.

    Cost: 1 round; ring_bits an element each way; no key.
    Reveals: sums + r, uniform: r is a fresh uniform mask.
    """
    (opened,) = executor.apply(Open(), sums)
    return CachedShare(opened.value, opened.frac_bits, opened.ring_bits, opened.held, own=sums.value)


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a state adds, additive, at the scales and in the rings of what it is added to.

    Attributes:
        mixed: to weights times values, [B, H, T, K].
        sums: to rows' sums, [B, H, T, 1].
    """

    mixed: Share
    sums: Share


def require_room(keys: int, weights: Weighting) -> None:
    """Raises ConfigError for a row of more keys than a session's maximum context lets rings hold."""
    if keys > 1 << weights.row_bits:
        raise ConfigError(
            f"a row of {keys} keys, those of the state among them: the session has room for "
            f"{1 << weights.row_bits}, see --max-context"
        )


def opened_with_state(
    executor: Executor,
    q: Share,
    scores: Share,
    state: AttentionState[Share],
    widths: AttentionWidths,
    p: Precision,
    *,
    shifted: bool,
) -> tuple[Share, Beyond]:
    """Scores, masked, and what the state adds to what becomes of them.

    Args:
        q: masked [B, H, T, K]; scores: additive, to be opened.
        shifted: features are of [q, 1].

    Cost: the scores' round, R ring_bits a query each way; 5 rounds more where truncation is exact. Key, to
        the server: that of the pairs' products, ring_bits for each of the pairs once more and of the results.
    """
    of = state_widths(widths.weighting, p, "attention")
    rows = _with_column(executor, q, 1 << q.frac_bits) if shifted else q
    wide = of.ring_bits + 2 * of.query_read - of.query
    pairs = truncate_locally(executor, _pairs(executor, rows, of.query_read, wide), of.query)
    scores, pairs = executor.apply(Open(), scores, pairs)
    (pairs,) = nearest(executor, (pairs, of.query, of.ring_bits))
    sums = state.sums
    assert isinstance(sums, CachedShare)
    if sums.shape[-2] != pairs.shape[-1]:
        raise ConfigError(f"a state of {sums.shape[-2]} features, queries have {pairs.shape[-1]}")
    leading = tuple(q.shape[:-2])
    sums = sums.arranged(lambda t: t.expand(*leading, *t.shape[-2:]))
    every = CausalBlocks.whole(pairs.shape[-2], pairs.shape[-1], causal=False)
    packed = executor.map(pairs, lambda t: t.flatten(-2))
    read = executor.one(CausalMix(every), packed, sums, sums.summand)
    frac = widths.weighting.frac
    mixed = executor.map(read, lambda t: t[..., :-1])
    mixed = _at_scale(executor, mixed, frac + of.value, widths.mix_bits)
    added = executor.map(read, lambda t: t[..., -1:])
    added = _at_scale(executor, added, frac, widths.sum_bits)
    return scores, Beyond(mixed, added if state.beside is None else executor.add(added, state.beside))


def moved_into(
    executor: Executor,
    state: AttentionState[Share] | None,
    k: CachedShare,
    v: CachedShare,
    widths: StateWidths,
    form: AttentionForm,
    offset: Matrix | None,
) -> AttentionState[Share]:
    """A state with more keys in it: what `squares_with_state` reads as if they were still there.

    Args:
        state: the keys before; None for none.
        k, v: masked [B, H, C, K], kept; values in the ring of states.
        offset: [H], the server's.

    Cost: 2 rounds, 3 with an offset; R ring_bits a key and R (K + 1) ring_bits each way, and as the product
        and the opening say.
    Reveals: pairs of keys, and the sums, under fresh uniform masks.
    """
    assert v.ring_bits == widths.ring_bits
    keys: Share = k
    if offset is not None:
        keys = _with_offset(executor, k, form, offset)
    elif form.shift:
        keys = _with_column(executor, k, round(form.shift * 2.0**k.frac_bits))
    width, count = keys.shape[-1], keys.shape[-2]
    wide = widths.ring_bits + 2 * widths.key_read - widths.key
    first, second = torch.triu_indices(width, width)
    twice = executor.mul_integer(
        _pairs(executor, keys, widths.key_read, wide), torch.where(first == second, 1, 2)
    )
    (pairs,) = executor.apply(Open(), truncate_locally(executor, twice, widths.key))
    (pairs,) = nearest(executor, (pairs, widths.key, widths.ring_bits))
    packed = executor.map(pairs, lambda t: t.transpose(-1, -2).flatten(-2))
    every = CausalBlocks.whole(len(first), count, causal=False)
    values = _with_ones(executor, v)
    sums = executor.one(CausalMix(every), packed, values, values.summand)
    before = 0
    if state is not None:
        assert isinstance(state.sums, CachedShare)
        sums, before = executor.add(state.sums.summand, sums), state.keys
    return AttentionState("pairs", opened_state(executor, sums), keys=before + count)


def _pairs(executor: Executor, x: Share, read: int, ring_bits: int) -> Share:
    """x_a x_b of masked rows, a <= b: additive, of 2 `read` fraction bits."""
    seen = view(executor, x, read)
    first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
    factors = (executor.map(seen, lambda t, at=at: t[..., at]) for at in (first, second))
    return executor.one(Product(ring_bits), *factors)


def _at_scale(executor: Executor, x: Share, frac_bits: int, ring_bits: int) -> Share:
    """Additive shares with fewer fraction bits in a narrower ring."""
    x = in_scale(executor, truncate_locally(executor, x, frac_bits), frac_bits, ring_bits)
    return executor.reduce(x, ring_bits)


def _with_column(executor: Executor, x: Share, number: int) -> Share:
    """Masked rows with a public number behind them, whose mask is 0."""
    last = torch.zeros(x.shape[-1] + 1, dtype=torch.int64)
    last[-1] = number
    return executor.add_public(executor.map(x, _padded), last)


def _with_ones(executor: Executor, v: CachedShare) -> CachedShare:
    """Values with a column of ones, kept as they are."""
    value = _with_column(executor, Share(v.value, v.frac_bits, v.ring_bits, v.held), 1 << v.frac_bits)
    own = _with_column(executor, v.summand, 1 << v.frac_bits)
    return CachedShare(value.value, v.frac_bits, v.ring_bits, v.held, own=own.value)


def _with_offset(executor: Executor, k: CachedShare, form: AttentionForm, offset: Matrix) -> Share:
    """Keys [B, H, C, K] with their head's offset and the shift behind them: a secret, opened masked.

    Cost: 1 round; ring_bits a head each way.
    """
    drop = offset.frac_bits - k.frac_bits
    own = offset.value.to(torch.int64) + round(form.shift * 2.0**offset.frac_bits)
    own = (own + (1 << (drop - 1))) >> drop if drop > 0 else own
    nothing = executor.mul_integer(executor.map(k.summand, lambda t: t[..., :1, :1]), 0)
    (column,) = executor.apply(Open(), executor.add_public(nothing, own[:, None, None]))
    count = k.shape[-2]
    column = executor.map(column, lambda t: t.expand(*t.shape[:-2], count, 1))
    return executor.concat([Share(k.value, k.frac_bits, k.ring_bits, k.held), column], -1)


def _padded(x: torch.Tensor) -> torch.Tensor:
    return functional.pad(x, (0, 1))
