"""Opening a session of the FSS suite: with a dealer, or over a folder that was dealt before."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import cast

import torch

from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.fold import fold
from mpcinfer.models.known_ranges import require_known
from mpcinfer.models.prefix_run import PrefixSource, require_prefix_possible
from mpcinfer.prefix.part import PrefixPart, agreement_of
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig, announce, dealer_link, greet, require_ranges
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.fss.encoded_ahead import found_ahead
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.public_prefix import encoded_prefix
from mpcinfer.suites.fss.range_check import AGREED, checked_names, for_check, plain_name
from mpcinfer.suites.fss.session import FssPrivateSession
from mpcinfer.suites.fss.stored_dealing import FIRST
from mpcinfer.suites.fss.weights import encoded
from mpcinfer.suites.fss.widths import Widths
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, Phase
from protocols.fss.plans import NAME
from protocols.fss.preprocessing.bundle_store import Store
from protocols.fss.preprocessing.matrix import Matrix, PublicCopy
from protocols.fss.preprocessing.seeds import charge_seeds
from protocols.fss.preprocessing.source import CorrelationSource, DealerSource, RunShape
from protocols.fss.preprocessing.stored_source import StoredSource

_MAX_CONTEXT = "session.max_context"


@contextmanager
def fss_session(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """A session of the FSS suite.

    Raises:
        ConfigError: the model was never calibrated; no dealer and no correlations, or for something else.
        HandshakeFailed: the peer or the dealer is of another version, plan or model, or has other
        correlations. RangeError: values of the model, or sums over that many tokens, need more than 64 bits.
        CorrelationExhausted: the correlations hid other weights before.
        PeerError: the peer or the dealer went away or sent what it should not.
    """
    require_ranges(session_config.public)
    if session_config.correlations is not None:
        opened = _over_folder(link, session_config, Store(session_config.correlations))
    elif session_config.dealer is not None:
        opened = _with_dealer(link, session_config)
    else:
        raise ConfigError(
            f"plan {session_config.plan.name} needs a dealer, or a folder that one wrote; of all plans only "
            "those of CrypTen can be tried with a server that deals for itself (--plan crypten "
            "--insecure-dealer)"
        )
    with opened as session:
        yield session


@contextmanager
def _with_dealer(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """1. Handshake with the peer.  2. The client says how many tokens the session has room for, how many
    its first pass has, and of how many sequences passes are.  3. The dealer hears of plan, model, ranges,
    maximum context, sequences and the first pass from both, and deals that pass while  4. masked weights go
    to the client.
    """
    checked = AGREED if session_config.check_ranges else ""
    checked += agreement_of(session_config.prefix)
    agreed = greet(link, session_config.plan.digest() + checked, session_config.agreed_model)
    tally = Tally(session_config.on_progress)
    assert session_config.dealer is not None
    with dealer_link(
        agreed, session_config.dealer, session_config.keys, session_config.timeout_s, session_config.shape
    ) as dealer:
        program, first = agreed_program(link, session_config)
        announce(dealer, NAME, **program.to_document(), **({FIRST: first} if first else {}))
        assert link.rank is not None
        source = DealerSource(link.rank, dealer, on_bytes=lambda count: tally.add(dealt_bytes=count))
        with closing(source):
            asked = [RunShape(program.public_prefix, first)] if first else []
            if asked:
                if tally.listened_to:
                    tally.expect(program.dealt_bytes(first))
                source.request(asked)
            own = _own_weights(program, session_config)
            with closing(
                fss_over(link, program, own, source, tally, asked, session_config.prefix)
            ) as session:
                yield session


@contextmanager
def _over_folder(link: Link, session_config: SessionConfig, store: Store) -> Generator[PrivateSession]:
    """1. Handshake with the peer, which must have the other half.  2. Masked weights go to the client."""
    with closing(store):
        manifest, public = store.manifest, session_config.public
        program = Program.of(
            session_config.plan,
            public.config,
            public.ranges,
            int(manifest.session.get("max_context", 0)),
            batch=_dealt_batch(link, store, session_config.batch),
            prefix=session_config.prefix and session_config.prefix.features,
        )
        if program.to_document() != manifest.session:
            dealt = manifest.session.get("plan", {}).get("name")
            raise ConfigError(
                f"{store.folder} was dealt for another model, plan ({dealt}) or prefix, not for "
                f"{public.name} under {session_config.plan.name}{agreement_of(session_config.prefix)}"
            )
        source = StoredSource(link, store)
        agreement = f"{session_config.plan.digest()}, correlations {manifest.id}"
        greet(link, agreement + agreement_of(session_config.prefix), public.digest())
        own = _own_weights(program, session_config)
        if own is not None and not program.sharing.encrypted:
            store.bind_weights(_digest(own))
        tally = Tally(session_config.on_progress)
        with (
            closing(source),
            closing(fss_over(link, program, own, source, tally, prefix=session_config.prefix)) as session,
        ):
            yield session


def _dealt_batch(link: Link, store: Store, wanted: Batch) -> Batch:
    """The prompts a pass that a folder was dealt for; at the client, there must be a place for its own.

    Raises:
        ConfigError: there is none.
    """
    dealt = Batch.from_document(store.manifest.session)
    if link.rank != CLIENT:
        return dealt
    if wanted.size > dealt.size or wanted.several != dealt.several:
        raise ConfigError(
            f"batch: {store.folder} was dealt for passes of {dealt.size} prompts, not for {wanted.size}: "
            f"deal for as many, --batch {wanted.size}"
        )
    if wanted.padded and not dealt.padded and wanted.several:  # a single one can be as long as was dealt
        raise ConfigError(
            f"{store.folder} was dealt for prompts of one length: say so (--equal-lengths, "
            "equal_lengths=True), or deal without --equal-lengths"
        )
    return dealt


def agreed_program(link: Link, session_config: SessionConfig) -> tuple[Program, int]:
    """The program, for as many tokens as the client has room for and as many sequences as it runs; and how
    many tokens its first pass has, 0 where it does not know yet.

    Raises:
        PeerMismatch: the client wants a maximum context beyond the model's context, begins with more than
            it has, or asks for passes of too many sequences.
    """
    public, meter = session_config.public, link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        if link.rank == CLIENT:
            program = _program(session_config, session_config.max_context)
            room = program.max_context - program.public_prefix
            first = session_config.first if session_config.first <= room else 0
            batch = program.batch.to_document()
            link.send_document({"max_context": program.max_context, "first": first, **batch}, _MAX_CONTEXT)
            return program, first
        document = link.recv_document(_MAX_CONTEXT, max_bytes=128)
    max_context, first = document.get("max_context"), document.get("first")
    if type(max_context) is not int or not 1 <= max_context <= public.config.context:
        raise PeerMismatch(
            f"the client wants a maximum context of {max_context!r} tokens, the context is "
            f"{public.config.context}"
        )
    room = max_context - session_config.prefix_tokens
    if room < 1:
        raise PeerMismatch(
            f"the client wants a maximum context of {max_context} tokens, the public prefix has "
            f"{session_config.prefix_tokens}"
        )
    if type(first) is not int or not 0 <= first <= room:
        raise PeerMismatch(f"the client begins with {first!r} tokens, the session has room for {room}")
    try:
        batch = Batch.from_document(document)
        batch.require_maskable(public.config)
        if session_config.public_prefix is not None:
            require_prefix_possible(public.config, batch)
    except ConfigError as error:
        raise PeerMismatch(f"the client asks for passes that cannot be run: {error}") from None
    return _program(dataclasses.replace(session_config, batch=batch), max_context), first


def _program(session_config: SessionConfig, max_context: int | None) -> Program:
    public = session_config.public
    return Program.of(
        session_config.plan,
        public.config,
        public.ranges,
        max_context,
        check_ranges=session_config.check_ranges,
        batch=session_config.batch,
        public_prefix=session_config.prefix_tokens,
        prefix=session_config.prefix and session_config.prefix.features,
    )


def fss_over(
    link: Link,
    program: Program,
    weights: Mapping[str, Matrix] | None,
    source: CorrelationSource,
    tally: Tally | None = None,
    asked: Sequence[RunShape] = (),
    prefix: PrefixPart | None = None,
) -> FssPrivateSession:
    """The session over a source whose seeds have come: books them, and brings the weights in.

    Args:
        weights: the server's, `encoded_weights`; None at the client.
        asked: passes that were asked of the source already.
        prefix: this party's summands, where the program has a prefix.
    """
    charge_seeds(link.meter)
    tally = tally or Tally(None)
    tally.add(of=len(asked))
    return FssPrivateSession(link, program, weights, source, tally, asked, prefix)


def checked_weights(
    program: Program,
    name: str,
    weights: Mapping[str, torch.Tensor],
    prefix_run: PrefixSource | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Matrix]:
    """`encoded_weights` of a model of that name, whose other arguments are theirs.

    Raises:
        RangeError: a weight is too large, or a token's row for the ranges that both parties have.
    """
    require_known(name, program.config, weights, program.ranges)
    return encoded_weights(program, weights, prefix_run, only)


def folded_weights(
    program: Program, weights: Mapping[str, torch.Tensor]
) -> tuple[ModelConfig, Mapping[str, torch.Tensor]]:
    """Shape and weights, in float, as the program reads them."""
    return fold(program.config, weights) if program.plan.fold else (program.config, weights)


def encoded_weights(
    program: Program,
    weights: Mapping[str, torch.Tensor],
    prefix_run: PrefixSource | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Matrix]:
    """The server's weights in fixed point, folded as the program reads them; and keys and values of a public
    prefix where the program has one.

    Args:
        prefix_run: of that prefix.
        only: names of `Program.matrices` to encode; None for all.

    Raises:
        RangeError: a weight is too large, or a key or a value of the prefix.
    """
    config, folded = folded_weights(program, weights)
    run = prefix_run() if program.public_prefix and prefix_run is not None else None
    names = program.matrices() if only is None else only

    def within(widths: Widths, names: Collection[str]) -> dict[str, Matrix]:
        public_prefix = {} if run is None else encoded_prefix(config, widths, run)
        rows = {name: matrix for name, matrix in public_prefix.items() if name in names}
        return encoded(config, widths, folded, sharing=program.sharing, only=names) | rows

    result = within(program.widths, names)
    if program.second is not None:
        result |= for_check(
            within(program.second.widths, {plain_name(name) for name in checked_names(names)})
        )
    return result


def _own_weights(program: Program, session_config: SessionConfig) -> Mapping[str, Matrix] | None:
    """The server's weights for a session: those encoded ahead where they differ in their rings alone, others
    of the float weights, which are loaded for that where they are not in memory; None at the client."""
    floats, load = session_config.weights, session_config.load_weights
    if floats is None and load is None:
        return None
    ahead = cast(Mapping[str, Matrix], session_config.encoded or {})
    wanted = program.matrices()
    found = {name: found_ahead(ahead, each) for name, each in wanted.items()}
    made, missing = dict[str, Matrix](), [name for name, each in found.items() if each is None]
    if missing:
        if floats is None:
            assert load is not None
            floats = load()
        made = checked_weights(
            program, session_config.public.name, floats, session_config.prefix_run, missing
        )
    return {name: _in_rings_of(each, found[name] or made[name]) for name, each in wanted.items()}


def _in_rings_of(wanted: Matrix, ahead: Matrix) -> Matrix:
    """An encoded weight in the rings of another session."""
    public = wanted.public
    if public is not None and ahead.public is not None:
        public = PublicCopy(ahead.public.value, public.ring_bits)
    return dataclasses.replace(wanted, value=ahead.value, bias=ahead.bias, public=public)


def _digest(weights: Mapping[str, Matrix]) -> str:
    """Digest of the weights in fixed point, without biases, which are never masked."""
    total = hashlib.sha256()
    for name, matrix in sorted(weights.items()):
        total.update(f"{name} {matrix.frac_bits} {matrix.value.dtype} {list(matrix.shape)}\n".encode())
        total.update(matrix.value.contiguous().numpy().data)
    return total.hexdigest()
