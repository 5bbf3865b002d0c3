"""Changes of scale and ring: by probabilistic truncation, or by the exact gate where a plan asks for it."""

from __future__ import annotations

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.exact_truncation import TruncateExactly
from protocols.fss.gates.linear import MaskAtServer, ToServerHeld
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.gates.polynomial import Product
from protocols.share import Share

Target = tuple[Share, int, int]
"""A share, with the fraction bits and the ring bits that its readers need."""


def open_truncated(executor: Executor, *targets: Target) -> tuple[Share, ...]:
    """Values that the server has whole, to both parties, masked.

    Truncated before they are sent: a message to the client of as many bits as readers use. Plans with exact
    truncation send all bits and truncate afterwards.
    """
    if executor.exact_truncation:
        published = executor.apply(OpenToClient(), *(x for x, _, _ in targets))
        return nearest(executor, *((x, *target[1:]) for x, target in zip(published, targets, strict=True)))
    truncated = (executor.truncate(x, x.frac_bits - frac_bits) for x, frac_bits, _ in targets)
    reduced = [executor.reduce(x, ring_bits) for x, (_, _, ring_bits) in zip(truncated, targets, strict=True)]
    return executor.apply(OpenToClient(), *reduced)


def truncate_locally(executor: Executor, x: Share, frac_bits: int) -> Share:
    """Additive shares as they are to be sent: with as few fraction bits as their readers use, in a ring as
    much narrower. Plans with exact truncation send all bits and truncate what was opened."""
    drop = x.frac_bits - frac_bits
    return x if executor.exact_truncation or drop <= 0 else executor.truncate(x, drop)


def in_scale(executor: Executor, x: Share, frac_bits: int, ring_bits: int) -> Share:
    """Additive shares of a value that may be finer than `frac_bits`, as plans with exact truncation have to
    bring them to a layer: at that scale, in `ring_bits`. Other plans truncate them where they are sent.

    Cost: nothing; where exact plans have something to drop, an opening and `TruncateExactly`, 2 rounds.
    """
    drop = x.frac_bits - frac_bits
    if not executor.exact_truncation or drop <= 0:
        return x
    (opened,) = executor.apply(Open(), x)
    return executor.one(TruncateExactly(drop, ring_bits), opened)


def truncate_at_server(executor: Executor, x: Share, frac_bits: int, ring_bits: int) -> Share:
    """What a linear layer left at the server, with fewer fraction bits, still there.

    Local where truncation is probabilistic; plans with exact truncation need it at both parties, and hold it
    again.
    """
    if executor.exact_truncation:
        (published,) = executor.apply(OpenToClient(), x)
        rounded = _plus_half(executor, published, frac_bits)
        return executor.one(
            ToServerHeld(), executor.one(TruncateExactly(x.frac_bits - frac_bits, ring_bits), rounded)
        )
    return executor.reduce(executor.truncate(x, x.frac_bits - frac_bits), ring_bits)


def extend_ring(executor: Executor, x: Share, narrow_bits: int, ring_bits: int) -> Share:
    """A server-held value in a wider ring: published in `narrow_bits`, which hold it, and held again.

    Cost: 2 messages, of narrow_bits an element to the client and ring_bits to the server.
    """
    (published,) = executor.apply(
        OpenToClient(), executor.reduce(executor.one(MaskAtServer(), x), narrow_bits)
    )
    return executor.one(ToServerHeld(), executor.one(Product(ring_bits), executor.view(published)))


def nearest(executor: Executor, *targets: Target) -> tuple[Share, ...]:
    """As `narrow`, rounded without a bias: at random as ever, or to nearest where a plan truncates
    exactly."""
    if executor.exact_truncation:
        targets = tuple(
            (_plus_half(executor, x, frac_bits), frac_bits, bits) for x, frac_bits, bits in targets
        )
    return narrow(executor, *targets)


def _plus_half(executor: Executor, x: Share, frac_bits: int) -> Share:
    drop = x.frac_bits - frac_bits
    return executor.add_public(x, 1 << (drop - 1)) if drop > 0 else x


def narrow(executor: Executor, *targets: Target) -> tuple[Share, ...]:
    """Masked values with fewer fraction bits, in other rings: no wider ones unless the plan truncates
    exactly.

    Plans with exact truncation round down, as indices of tables are meant to be.
    """
    if not executor.exact_truncation or all(x.frac_bits == frac_bits for x, frac_bits, _ in targets):
        truncated = (executor.truncate(x, x.frac_bits - frac_bits) for x, frac_bits, _ in targets)
        return tuple(executor.reduce(x, bits) for x, (_, _, bits) in zip(truncated, targets, strict=True))
    exact = [
        executor.one(TruncateExactly(x.frac_bits - frac_bits, ring_bits), x)
        for x, frac_bits, ring_bits in targets
    ]
    return executor.apply(Open(), *exact)


def view(executor: Executor, x: Share, frac_bits: int) -> Share:
    """A masked value for gates to read with fewer fraction bits, into rings of any width."""
    return views(executor, (x, frac_bits))[0]


def views(executor: Executor, *targets: tuple[Share, int]) -> tuple[Share, ...]:
    """`view` of several values, those that are truncated exactly together."""
    if executor.exact_truncation:
        longer = [x.frac_bits != frac_bits for x, frac_bits in targets]
        cut = iter(
            nearest(
                executor,
                *(
                    (x, frac_bits, x.ring_bits - (x.frac_bits - frac_bits))
                    for (x, frac_bits), drops in zip(targets, longer, strict=True)
                    if drops
                ),
            )
            if any(longer)
            else ()
        )
        targets = tuple(
            (next(cut) if drops else x, frac_bits)
            for (x, frac_bits), drops in zip(targets, longer, strict=True)
        )
    return tuple(executor.view(x, x.frac_bits - frac_bits) for x, frac_bits in targets)
