"""Power attention over a state: sums over pairs of keys in place of the keys, read by pairs of queries.

Reading sends nothing: what a query finds in the state is a product of masked values that are opened already.
Moving keys into it: the product of their pairs with the values is added to what was there, and the sum opened
under a fresh mask in the ring that holds it, whose upper bits are opened then. The mask stays until more is
added. Pairs are opened nowhere (`pairs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from mpcinfer.suites.fss.attention_widths import AttentionWidths, Weighting
from mpcinfer.suites.fss.state_widths import StateWidths
from parties.errors import ConfigError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare, to_cached
from protocols.fss.gates.opening import Open
from protocols.fss.gates.pairs import ReadPairs, SumOfPairs, pair_count
from protocols.fss.gates.widening import Widen
from protocols.fss.operations.rescale import in_scale, truncate_locally
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Share


def opened_state(executor: Executor, sums: Share, widths: StateWidths) -> CachedShare:
    """Additive sums [.., R, K + 1], for any number of queries to read.

    Cost: 2 rounds, or 1 where their ring is that of reading; read_bits an element each way, and a key of as
        many, and of the bits above sum_bits, to the server.
    Reveals: sums + r, uniform: r is a fresh uniform mask, whose upper bits are drawn with the second opening.
    """
    (opened,) = executor.apply(Open(), executor.reduce(sums, widths.sum_bits))
    if widths.sum_bits < widths.read_bits:
        opened = executor.one(Widen(widths.read_bits), opened)
    return to_cached(executor, opened)


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


def in_rings_of_products(
    executor: Executor, q: Share, k: CachedShare, v: CachedShare, widths: AttentionWidths
) -> tuple[Share, CachedShare, CachedShare]:
    """Queries, keys and values, which states may have published in wider rings, for attention beside them."""
    if widths.state is None:
        return q, k, v
    k, v = k.reduced(widths.score_bits), v.reduced(widths.mix_bits)
    return executor.reduce(q, widths.score_bits), k, v


def beyond(
    executor: Executor,
    q: Share,
    state: AttentionState[Share],
    widths: AttentionWidths,
    *,
    shifted: bool,
) -> Beyond:
    """What a state adds to what becomes of scores.

    Args:
        q: masked [B, H, T, K], in the ring of reading.
        shifted: features are of [q, 1].

    Cost: nothing online; where truncation is exact, 2 rounds each for both. Key: as `ReadPairs`.

    Raises:
        ConfigError: a state of other features, or a session whose rings are not made for states.
    """
    of, sums = widths.state, state.sums
    if of is None:
        raise ConfigError("the rings of this session are not made for states: Widths(states=True)")
    assert isinstance(sums, CachedShare)
    q = _with_column(executor, q, 1 << q.frac_bits) if shifted else q
    if sums.shape[-2] != pair_count(q.shape[-1]):
        raise ConfigError(f"a state of {sums.shape[-2]} features, queries have {pair_count(q.shape[-1])}")
    leading = tuple(q.shape[:-2])
    sums = sums.arranged(lambda t: t.expand(*leading, *t.shape[-2:]))
    q = executor.reduce(q, of.read_bits)
    read, frac = executor.one(ReadPairs(), q, sums, sums.summand), widths.weighting.frac
    read = read if state.beside is None else _with_last(executor, read, state.beside)
    mixed = executor.map(read, lambda t: t[..., :-1])
    mixed = _at_scale(executor, mixed, frac + of.value, widths.mix_bits)
    added = executor.map(read, lambda t: t[..., -1:])
    added = _at_scale(executor, added, frac, widths.sum_bits)
    return Beyond(mixed, added)


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
        k, v: masked [B, H, C, K], kept, in rings no narrower than keys and values move in.
        offset: [H], the server's.

    Cost: as `opened_state`, and a round more with an offset; 2 more where truncation is exact. Key: as
        `SumOfPairs`.
    Reveals: the sums, under fresh uniform masks.
    """
    keys: Share = Share(k.value, k.frac_bits, widths.moved_bits, k.held)
    if offset is not None:
        keys = _with_offset(executor, k.reduced(widths.moved_bits), form, offset)
    elif form.shift:
        keys = _with_column(executor, keys, round(form.shift * 2.0**k.frac_bits))
    values = _with_ones(executor, v.reduced(widths.moved_bits))
    sums = executor.one(SumOfPairs(), keys, values, values.summand)
    sums = _at_scale(executor, sums, widths.sums, widths.sum_bits)
    before = 0
    if state is not None:
        assert isinstance(state.sums, CachedShare)
        sums, before = executor.add(state.sums.summand, sums), state.keys
    return AttentionState("pairs", opened_state(executor, sums, widths), keys=before + k.shape[-2])


def _at_scale(executor: Executor, x: Share, frac_bits: int, ring_bits: int) -> Share:
    """Additive shares with fewer fraction bits in a narrower ring."""
    x = in_scale(executor, truncate_locally(executor, x, frac_bits), frac_bits, ring_bits)
    return executor.reduce(x, ring_bits)


def _with_last(executor: Executor, read: Share, beside: Share) -> Share:
    """What is read, additive [.., T, K + 1], with [.., 1, 1] in its last column, which is no finer: nothing
    is cut off."""
    finer = read.frac_bits - beside.frac_bits
    beside = executor.shift_up(executor.reduce(beside, read.ring_bits - finer), finer)
    return executor.add(read, executor.map(beside, lambda t: functional.pad(t, (read.shape[-1] - 1, 0))))


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
