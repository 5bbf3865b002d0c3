"""Causal attention without exp: powers of scores over their mean plus epsilon, or ReLU over the row's length.

1. Scores plus offset and shift, additive; opened.
2. Their powers, or ReLU; opened, for powers with each row's sum plus epsilon L.
3. Weights times values; for powers opened together with each row's reciprocal. Their product, or for ReLU the
   product with the public 1 / L, goes to the server.

No maximum is found and no exp taken. Rows of L keys are multiplied by the public 2^(row_bits - ceil(log2 L))
before they are opened: all that comes after then has the range of a mean. Beside a prefix's state they stay
as they are, as rows of 2^row_bits: how many keys it stands for is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from mpcinfer.suites.fss.attention import divide, quotient_to_server, row_sums
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.formats import power_formats, relu_formats
from mpcinfer.suites.fss.power_state import beyond, in_rings_of_products, require_room
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.seen_keys import by_entry, of_heads_by_row, seen_keys
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.causal import CausalMix, CausalProduct, SeenKeys
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import in_scale, narrow, nearest, truncate_locally, view
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Share


def power_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
    offset: Matrix | None,
    epsilon: Matrix | None,
    state: AttentionState[Share] | None = None,
) -> Share:
    """s^power / (mean s^power + epsilon) / L of scores s, times v, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K], kept; the queries are the last T of the S positions. Where the form has
            patterns, heads are in the axis of positions (`in_one_axis`), and in the result's.
        offset: [H], the server's, with the fraction bits of scores.
        epsilon: [H], the server's, in place of the form's.
        state: (power 2) keys and values before, as sums, its keys and S no more than the session has room
            for.

    Cost: at most 4 rounds for power 2, 5 for power 4, 6 for others, and one more as `quotient_to_server`
        says. Over a state as many where truncation is probabilistic; otherwise 4 more.

    Raises:
        ConfigError: a row has more keys than the session has room for.
    """
    seen, weights, span = seen_keys(q, k, form), widths.weighting, executor.meter.span
    own = q  # in the ring of states, which the scores' may be narrower than
    q, k, v = in_rings_of_products(executor, q, k, v, widths)
    before = 0 if state is None else state.keys
    lengths = [length + before for length in seen.lengths]
    if state is not None:
        require_room(lengths[-1], weights)
    with span("scores", "matmul"):
        formats = power_formats(widths, p, form.power)
        scores = _scores(executor, q, k, seen, form.shift, offset, formats.read_frac)
        scores = executor.one(Open(), scores)
    added = None
    if state is not None:
        shifted = offset is not None or bool(form.shift)
        with span("state", "matmul"):
            added = beyond(executor, own, state, widths, shifted=shifted)
    with span("power", "power"):
        powers = suite.power(executor, formats, scores)
        sums = executor.reduce(row_sums(executor, [powers], seen), widths.sum_bits)
        sums = sums if added is None else executor.add(sums, added.sums)
        sums = executor.add_public(sums, _added(sums, seen, lengths, form, epsilon))
        if weights.hidden_keys:  # and so are means over all of them
            lengths = [1 << weights.row_bits] * len(lengths)
        sums = _as_means(executor, sums, lengths, weights.row_bits)
        powers, sums = executor.apply(Open(), powers, sums)
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), powers, v, v.summand)
        mixed = mixed if added is None else executor.add(mixed, added.mixed)
        return divide(executor, suite, _as_means(executor, mixed, lengths, weights.row_bits), sums, widths, p)


def relu_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
    offset: Matrix | None,
) -> Share:
    """max(s, 0) / L of scores s, times v, held by the server for the next layer. Arguments as above.

    Cost: at most 5 rounds, and one more as `quotient_to_server` says.
    """
    seen, weights, span = seen_keys(q, k, form), widths.weighting, executor.meter.span
    with span("scores", "matmul"):
        scores = executor.one(Open(), _scores(executor, q, k, seen, form.shift, offset, weights.frac))
    with span("relu", "relu"):
        protocol = suite.activations["relu"]
        around = relu_formats(protocol, widths, p, exact_truncation=executor.exact_truncation)
        drop = scores.frac_bits - weights.frac
        (scores,) = nearest(executor, (scores, weights.frac, scores.ring_bits - drop))
        (index,) = (
            narrow(executor, (scores, around.index_frac, around.index_bits))
            if protocol.indexed
            else (scores,)
        )
        positive = protocol(executor, "relu", around, scores, index)
        positive = in_scale(executor, positive, weights.frac, around.ring_bits)
        (positive,) = executor.apply(Open(), truncate_locally(executor, positive, weights.frac))
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), positive, v, v.summand)
        mixed = _as_means(executor, mixed, seen.lengths, weights.row_bits)
        mixed = truncate_locally(executor, mixed, weights.mixed)
        (mixed,) = executor.apply(Open(), mixed)
        quotient = executor.one(Product(widths.quotient_bits), view(executor, mixed, weights.mixed))
        shares = _by_row(
            seen.lengths, lambda length: round(2.0 ** (_bits(length) + weights.inverse) / length)
        )
        quotient = executor.mul_integer(quotient, shares, weights.inverse)
        return quotient_to_server(executor, quotient, widths, p)


def _scores(
    executor: Executor,
    q: Share,
    k: CachedShare,
    seen: SeenKeys,
    shift: float,
    offset: Matrix | None,
    frac_bits: int,
) -> Share:
    """q k^T plus offsets and shift, where it can be seen, to be opened; with the fraction bits that are
    read."""
    scores = executor.one(CausalProduct(seen), q, k, k.summand)
    if shift:
        scores = executor.add_public(scores, round(shift * 2.0**scores.frac_bits))
    if offset is not None:
        assert offset.frac_bits == scores.frac_bits
        scores = executor.add_public(scores, by_entry(seen, offset.value))  # at the server alone
    return truncate_locally(executor, scores, frac_bits)


def _added(
    sums: Share, seen: SeenKeys, lengths: Sequence[int], form: AttentionForm, epsilon: Matrix | None
) -> torch.Tensor:
    """epsilon L for every row, at the scale of the sums: [T, 1], or [H, T, 1] at the server alone; [H T, 1]
    of patterns."""
    if epsilon is None:
        return _by_row(lengths, lambda length: round(form.epsilon * length * 2.0**sums.frac_bits))
    rows = of_heads_by_row(seen, epsilon.value).to(torch.int64)
    if rows.is_meta:
        return rows
    scaled = rows.double() * _by_row(lengths, lambda length: length).double()
    return (scaled * 2.0 ** (sums.frac_bits - epsilon.frac_bits)).round().to(torch.int64)


def _as_means(executor: Executor, x: Share, lengths: Sequence[int], row_bits: int) -> Share:
    """Rows [.., T, .] over 2^ceil(log2 L), exactly: times what is left to 2^row_bits, and the point moves."""
    factors = _by_row(lengths, lambda length: 1 << (row_bits - _bits(length)))
    return executor.scaled(executor.mul_integer(x, factors), -row_bits)


def _by_row(lengths: Sequence[int], number: Callable[[int], int]) -> torch.Tensor:
    """A public integer of the length of every row, [T, 1], or [H T, 1] of patterns."""
    return torch.tensor([number(length) for length in lengths], dtype=torch.int64)[:, None]


def _bits(length: int) -> int:
    """ceil(log2 L)."""
    return (length - 1).bit_length()
