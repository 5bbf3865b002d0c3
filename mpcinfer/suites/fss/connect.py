"""Opening a session of the FSS suite: with a dealer, or over a folder that was dealt before."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import cast

import torch

from mpcinfer.models.fold import fold
from mpcinfer.models.known_ranges import require_known
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.tally import Tally
from mpcinfer.sessions.terms import Terms, announce, dealer_link, greet, require_ranges
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.range_check import AGREED, for_check
from mpcinfer.suites.fss.session import FssPrivateSession
from mpcinfer.suites.fss.weights import encoded
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, Phase
from protocols.fss.bundle_store import Store
from protocols.fss.matrix import Matrix, PublicCopy
from protocols.fss.plans import NAME
from protocols.fss.seeds import charge_seeds
from protocols.fss.stored_supply import StoredSupply
from protocols.fss.supply import DealerSupply, RunShape, Supply

_ROOM = "session.room"


@contextmanager
def fss_session(link: Link, terms: Terms) -> Generator[PrivateSession]:
    """A session of the FSS suite.

    Raises:
        ConfigError: the model was never calibrated; no dealer and no material, or for something else.
        HandshakeFailed: the peer or the dealer is of another version, plan or model, or has other material.
        RangeError: values of the model, or sums over that many tokens, need more than 64 bits.
        CorrelationExhausted: the material hid other weights before.
        PeerError: the peer or the dealer went away or sent what it should not.
    """
    require_ranges(terms.public)
    if terms.material is not None:
        opened = _over_folder(link, terms, Store(terms.material))
    elif terms.dealer is not None:
        opened = _with_dealer(link, terms)
    else:
        raise ConfigError(
            f"plan {terms.plan.name} needs a dealer, or material that one wrote; of all plans only those of "
            "CrypTen can be tried with a server that deals for itself (--plan crypten --insecure-dealer)"
        )
    with opened as session:
        yield session


@contextmanager
def _with_dealer(link: Link, terms: Terms) -> Generator[PrivateSession]:
    """1. Handshake with the peer.  2. The client says how many tokens the session has room for, and how many
    its first pass has.  3. The dealer hears of plan, model, ranges and room from both, and deals that pass
    while  4. masked weights go to the client.
    """
    checked = AGREED if terms.check_ranges else ""
    agreed = greet(link, terms.plan.digest() + checked, terms.public.digest())
    tally = Tally(terms.on_progress)
    assert terms.dealer is not None
    with dealer_link(agreed, terms.dealer, terms.keys, terms.timeout_s) as dealer:
        program, first = agreed_program(link, terms)
        announce(dealer, NAME, **program.to_document())
        assert link.rank is not None
        supply = DealerSupply(link.rank, dealer, on_bytes=lambda count: tally.add(dealt_bytes=count))
        with closing(supply):
            asked = [RunShape(0, first)] if first else []
            if asked:
                if tally.listened_to:
                    tally.expect(program.dealt_bytes(first))
                supply.request(asked)
            own = _own_weights(program, terms)
            with closing(fss_over(link, program, own, supply, tally, asked)) as session:
                yield session


@contextmanager
def _over_folder(link: Link, terms: Terms, store: Store) -> Generator[PrivateSession]:
    """1. Handshake with the peer, which must have the other half.  2. Masked weights go to the client."""
    with closing(store):
        manifest, public = store.manifest, terms.public
        program = Program.of(terms.plan, public.config, public.ranges, int(manifest.session.get("room", 0)))
        if program.to_document() != manifest.session:
            dealt = manifest.session.get("plan", {}).get("name")
            raise ConfigError(
                f"{store.folder} was dealt for another model or plan ({dealt}), not for {public.name} under "
                f"{terms.plan.name}"
            )
        supply = StoredSupply(link, store)
        greet(link, f"{terms.plan.digest()}, material {manifest.id}", public.digest())
        own = _own_weights(program, terms)
        if own is not None:
            store.bind_weights(_digest(own))
        with (
            closing(supply),
            closing(fss_over(link, program, own, supply, Tally(terms.on_progress))) as session,
        ):
            yield session


def agreed_program(link: Link, terms: Terms) -> tuple[Program, int]:
    """The program, for as many tokens as the client has room for; and how many its first pass has, 0 where
    it does not know yet.

    Raises:
        PeerMismatch: the client wants room beyond the model's context, or begins with more than it has.
    """
    public, meter = terms.public, link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        if link.rank == CLIENT:
            program = _program(terms, terms.room)
            first = terms.first if terms.first <= program.room else 0
            link.send_document({"room": program.room, "first": first}, _ROOM)
            return program, first
        document = link.recv_document(_ROOM, max_bytes=64)
    room, first = document.get("room"), document.get("first")
    if type(room) is not int or not 1 <= room <= public.config.context:
        raise PeerMismatch(
            f"the client wants room for {room!r} tokens, the context is {public.config.context}"
        )
    if type(first) is not int or not 0 <= first <= room:
        raise PeerMismatch(f"the client begins with {first!r} tokens, in room for {room}")
    return _program(terms, room), first


def _program(terms: Terms, room: int | None) -> Program:
    public = terms.public
    return Program.of(terms.plan, public.config, public.ranges, room, check_ranges=terms.check_ranges)


def fss_over(
    link: Link,
    program: Program,
    weights: Mapping[str, Matrix] | None,
    supply: Supply,
    tally: Tally | None = None,
    asked: Sequence[RunShape] = (),
) -> FssPrivateSession:
    """The session over a supply whose seeds have come: books them, and brings the weights in.

    Args:
        weights: the server's, `encoded_weights`; None at the client.
        asked: passes that were asked of the supply already.
    """
    charge_seeds(link.meter)
    tally = tally or Tally(None)
    tally.add(of=len(asked))
    return FssPrivateSession(link, program, weights, supply, tally, asked)


def checked_weights(program: Program, name: str, weights: Mapping[str, torch.Tensor]) -> dict[str, Matrix]:
    """`encoded_weights` of a model of that name.

    Raises:
        RangeError: a weight is too large, or a token's row for the ranges that both parties have.
    """
    require_known(name, weights, program.ranges)
    return encoded_weights(program, weights)


def encoded_weights(program: Program, weights: Mapping[str, torch.Tensor]) -> dict[str, Matrix]:
    """The server's weights in fixed point, folded as the program reads them.

    Raises:
        RangeError: a weight is too large.
    """
    config, folded = program.config, weights
    if program.plan.fold:
        config, folded = fold(config, weights)
    result = encoded(config, program.widths, folded, public_table=program.public_table)
    if program.second is not None:
        result |= for_check(encoded(config, program.second.widths, folded, public_table=program.public_table))
    return result


def _own_weights(program: Program, terms: Terms) -> Mapping[str, Matrix] | None:
    """The server's weights for a session; from those encoded ahead where they differ in their rings alone."""
    if terms.weights is None:
        return None
    ahead = cast(Mapping[str, Matrix], terms.encoded or {})
    wanted = program.matrices()
    if any(name not in ahead or ahead[name].frac_bits != each.frac_bits for name, each in wanted.items()):
        return checked_weights(program, terms.public.name, terms.weights)
    return {name: _in_rings_of(each, ahead[name]) for name, each in wanted.items()}


def _in_rings_of(wanted: Matrix, ahead: Matrix) -> Matrix:
    """An encoded weight in the rings of another session."""
    public = wanted.public
    if public is not None and ahead.public is not None:
        public = PublicCopy(ahead.public.value, public.ring_bits)
    return dataclasses.replace(wanted, value=ahead.value, bias=ahead.bias, public=public)


def _digest(weights: Mapping[str, Matrix]) -> str:
    """Of the weights in fixed point, biases left out: they are never masked."""
    total = hashlib.sha256()
    for name, matrix in sorted(weights.items()):
        total.update(f"{name} {matrix.frac_bits} {matrix.value.dtype} {list(matrix.shape)}\n".encode())
        total.update(matrix.value.contiguous().numpy().data)
    return total.hexdigest()
