"""From one scale and ring to the next: free truncation, or the exact gate where a plan is faithful."""

from __future__ import annotations

from protocols.fss.faithful_truncation import FaithfulTruncation
from protocols.fss.linear import Hold, Veil
from protocols.fss.machine import Machine
from protocols.fss.opening import Open, Publish
from protocols.fss.polynomial import Product
from protocols.share import Share

Wire = tuple[Share, int, int]
"""A share, and fraction bits and ring in which its readers want it."""


def deliver(machine: Machine, *wires: Wire) -> tuple[Share, ...]:
    """Values that the server has whole, to both parties, masked.

    Truncated before they are sent: a message to the client of as many bits as readers use. Faithful plans
    send all bits and truncate afterwards.
    """
    if machine.faithful:
        published = machine.apply(Publish(), *(x for x, _, _ in wires))
        return nearest(machine, *((x, *wire[1:]) for x, wire in zip(published, wires, strict=True)))
    cut = (machine.truncate(x, x.frac_bits - frac_bits) for x, frac_bits, _ in wires)
    reduced = [machine.reduce(x, ring_bits) for x, (_, _, ring_bits) in zip(cut, wires, strict=True)]
    return machine.apply(Publish(), *reduced)


def cut(machine: Machine, x: Share, frac_bits: int) -> Share:
    """Additive shares as they are to be sent: with as few fraction bits as their readers use, in a ring as
    much narrower. Faithful plans send all bits and truncate what was opened."""
    drop = x.frac_bits - frac_bits
    return x if machine.faithful or drop <= 0 else machine.truncate(x, drop)


def keep(machine: Machine, x: Share, frac_bits: int, ring_bits: int) -> Share:
    """What a linear layer left at the server, with fewer fraction bits, still there.

    Free where truncation is; faithful plans need it at both parties, and hold it again.
    """
    if machine.faithful:
        (published,) = machine.apply(Publish(), x)
        rounded = _plus_half(machine, published, frac_bits)
        return machine.one(
            Hold(), machine.one(FaithfulTruncation(x.frac_bits - frac_bits, ring_bits), rounded)
        )
    return machine.reduce(machine.truncate(x, x.frac_bits - frac_bits), ring_bits)


def regain(machine: Machine, x: Share, narrow_bits: int, ring_bits: int) -> Share:
    """A server-held value in a wider ring: published in `narrow_bits`, which hold it, and held again.

    Cost: 2 messages, of narrow_bits an element to the client and ring_bits to the server.
    """
    (published,) = machine.apply(Publish(), machine.reduce(machine.one(Veil(), x), narrow_bits))
    return machine.one(Hold(), machine.one(Product(ring_bits), machine.view(published)))


def nearest(machine: Machine, *wires: Wire) -> tuple[Share, ...]:
    """As `narrow`, rounded without a bias: at random as ever, or to nearest where a plan is faithful."""
    if machine.faithful:
        wires = tuple((_plus_half(machine, x, frac_bits), frac_bits, bits) for x, frac_bits, bits in wires)
    return narrow(machine, *wires)


def _plus_half(machine: Machine, x: Share, frac_bits: int) -> Share:
    drop = x.frac_bits - frac_bits
    return machine.add_public(x, 1 << (drop - 1)) if drop > 0 else x


def narrow(machine: Machine, *wires: Wire) -> tuple[Share, ...]:
    """Masked values with fewer fraction bits, in other rings: no wider ones unless the plan is faithful.

    Faithful plans round down, as indices of tables are meant to be.
    """
    if not machine.faithful or all(x.frac_bits == frac_bits for x, frac_bits, _ in wires):
        cut = (machine.truncate(x, x.frac_bits - frac_bits) for x, frac_bits, _ in wires)
        return tuple(machine.reduce(x, bits) for x, (_, _, bits) in zip(cut, wires, strict=True))
    exact = [
        machine.one(FaithfulTruncation(x.frac_bits - frac_bits, ring_bits), x)
        for x, frac_bits, ring_bits in wires
    ]
    return machine.apply(Open(), *exact)


def view(machine: Machine, x: Share, frac_bits: int) -> Share:
    """A masked value for gates to read with fewer fraction bits, into rings of any width."""
    drop = x.frac_bits - frac_bits
    if machine.faithful and drop:
        (x,) = nearest(machine, (x, frac_bits, x.ring_bits - drop))
        drop = 0
    return machine.view(x, drop)
