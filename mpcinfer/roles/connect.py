"""How a client gets its session with a server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from mpcinfer.counting import count_passes
from mpcinfer.models.batch import Batch
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.public import PublicModel
from mpcinfer.models.public_document import require_digest
from mpcinfer.prefix.file import load_part
from mpcinfer.prompts import Text, require_room
from mpcinfer.public_prefix import PrefixText, private_tokens
from mpcinfer.roles.bill_notes import fetched_says
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.lengths import Asked, Lengths, lengths_of
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.sessions.public_exchange import fetch_public
from mpcinfer.sessions.session_config import SessionConfig, dialling, require_source
from mpcinfer.sessions.terms import fetch_buckets
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from mpcinfer.verification import unchecked
from parties.admission import PATIENCE_S, Request, seek
from parties.errors import RangeError
from parties.keys import KeyPair
from parties.meter import CLIENT
from parties.shaped import Shape
from parties.tcp import TcpChannel
from protocols.plan import Plan


@contextmanager
def connect_client(
    public: PublicModel | None,
    plan: Plan,
    *,
    keys: KeyPair,
    server: Address,
    dealer: Address | None,
    correlations: Path | None = None,
    max_context: int | None = None,
    prompt: Callable[[PublicModel], Text] | None = None,
    drafts: bool = False,
    digest: str | None = None,
    timeout_s: float = 60.0,
    on_progress: Callable[[Progress], None] | None = None,
    patience_s: float = PATIENCE_S,
    check_ranges: bool = False,
    insecure_dealer: bool = False,
    shape: Shape | None = None,
    batch: int = 1,
    equal_lengths: bool = False,
    public_prefix: PrefixText | None = None,
    prefix: str | None = None,
    buckets: Buckets | None = None,
    ask_buckets: bool = False,
    answer_tokens: int | None = None,
) -> Generator[PrivateClient]:
    """A session with a server, ended in order when the block ends without an error, or with RangeError.

    Args:
        public: the model's public part; the handshake compares it with the server's. None to get it from the
            server, before the handshake.
        dealer: where correlations come from.
        correlations: a folder with correlations for this client, made by `mpcinfer deal`, instead of a
            dealer. Passes then have as many prompts as it was dealt for, `batch` or more.
        max_context: the most tokens of the session, prompt and answers together; plans of the suite `fss`
            compute in rings as wide as that needs. At most the model's context; None for a default.
        prompt: makes the first prompt, where that is known: it is checked before the session, and dealt for
            while masked weights are on their way. The server learns its length a little earlier.
        drafts: there will be drafts with it, so that nothing is dealt for it yet.
        digest: the model must have this one, 64 hex digits (`PublicModel.digest`).
        timeout_s: longest wait for the server to come up, and longest silence afterwards.
        on_progress: is told how far the dealing is; called from other threads, too.
        patience_s: how long to wait in the queue of a server that serves many.
        check_ranges: every pass runs twice, the second time in wider rings, and `complete` raises RangeError
            where a value left its range. Twice the rounds, over twice the bytes. The server must ask for it
            too. It sees a session that ends, as after an answer. Plans of the suite `fss`, with a dealer.
        insecure_dealer: with neither dealer nor correlations, the client agrees to a server that is its own
            dealer and can decrypt everything; to measure with. Not every plan allows it.
        shape: all connections behave like slower ones, which the others must have, too; to measure with.
        batch: prompts of every pass, for `complete_batch`; 1 to 64. The server learns it.
        equal_lengths: all prompts of a batch will have one length. Otherwise they may have any, which takes
            a little more of everything, whatever lengths they have; the server learns which of the two.
        public_prefix: comes before every prompt, and the server must have the same: it ran it in the clear,
            so that a session pays for none of its tokens but what later ones pay to see them. Plans with a
            dealer; a batch with `equal_lengths`.
        prefix: the file of an adapter, or of this party's share of one, or the features of one that the
            server has. The server learns which features, and not how many tokens it stands for.
        buckets: public lengths: prompts are padded at their start to the next of them (`Buckets.of`), so
            that the server learns that length instead of theirs. It takes the bytes of as many tokens, which
            the bill says. Over a folder of correlations, to the length that was dealt for instead. None, the
            default, for exact lengths.
        ask_buckets: the server says what to pad to (`--buckets` of `mpcinfer serve`), where that is possible.
        answer_tokens: with buckets and a prompt, `max_new_tokens` of its answer, where that is known: so
            that the padded prompt is dealt for ahead.

    Raises:
        HandshakeFailed: another version, plan, model, digest, key or prefix of either kind at the server, or
            only one of the two checks ranges.
        AdmissionRefused: the server or the dealer serves many, and not this session now.
        PeerError: the server or the dealer went away or sent what it should not.
        ConfigError, RangeError: the model cannot be run under the plan, the prompt has tokens that the model
            has not or more than the session holds, ranges cannot be checked, or the model, the plan or a
            folder of correlations is not for batches.
        InsecureRefused: neither dealer nor correlations, and an insecure dealer was not asked for.
    """
    suite = suite_of(plan)
    if DEALER in suite.helpers:
        require_source(dealer, correlations, insecure_dealer)

    def ready(public: PublicModel, buckets: Buckets | None) -> tuple[SessionConfig, Lengths]:
        require_digest(public, digest)
        known = None if public_prefix is None else public_prefix.of(public)
        before = 0 if known is None else len(known)
        first = 0 if prompt is None else private_tokens(public, known, prompt(public))
        room = suite.session_context(public.config, max_context)
        if correlations is None:  # which are for as many tokens as they are
            require_room(before + first, room, public.config.context)
        part = None if prefix is None else load_part(prefix, public, "client")
        lengths = lengths_of(
            Asked(
                plan=plan,
                public=public,
                batch=Batch.of(batch, equal_lengths=equal_lengths),
                max_context=max_context,
                check_ranges=check_ranges,
                public_prefix=before,
                prefix=None if part is None else part.features,
                folder=correlations is not None,
            ),
            buckets,
        )
        session_config = suite.ready(
            SessionConfig(
                plan=plan,
                public=public,
                keys=keys,
                dealer=dealer,
                correlations=correlations,
                timeout_s=timeout_s,
                max_context=max_context,
                first=0 if drafts else lengths.first(public, first, room, answer_tokens),
                on_progress=on_progress,
                check_ranges=check_ranges,
                insecure_dealer=insecure_dealer,
                shape=shape,
                batch=lengths.batch,
                public_prefix=known,
                prefix=part,
            )
        )
        return session_config, lengths

    agreed = None if public is None else ready(public, buckets)

    def waits(place: int) -> None:
        if on_progress is not None:
            on_progress(Progress(stage=Stage.QUEUED, done=0, of=0, detail=f"place {place}"))

    room = None if public is None else suite.session_context(public.config, max_context)
    dial = dialling(keys, server.public_key, timeout_s, shape)
    asked = Request(role="client", context=room or max_context or 0)
    with ExitStack() as stack:
        link = stack.enter_context(
            seek(dial, server.endpoint, asked, rank=CLIENT, on_wait=waits, patience_s=patience_s)
        )
        notes = [] if check_ranges else [unchecked(plan)]
        theirs = fetch_buckets(link) if ask_buckets else buckets
        model = public
        if model is None:
            model = fetch_public(link, name=f"the model at {server.endpoint}", pinned=digest)
            notes.append(fetched_says(model, digest))
        session_config, lengths = agreed if agreed and theirs == buckets else ready(model, theirs)
        session = stack.enter_context(suite.open(link, session_config))
        steps = StepClient(link, session)
        notes += lengths.notes(session.batch)
        client = PrivateClient(
            model,
            steps,
            link.channel if isinstance(link.channel, TcpChannel) else None,
            notes,
            session_config.public_prefix,
            lengths.buckets,
            partial(
                count_passes,
                model.config,
                plan,
                ranges=model.ranges,
                max_context=steps.context,
                check_ranges=check_ranges,
            ),
        )
        try:
            yield client
        except RangeError:  # of this answer: the server need not know
            client.finish()
            raise
        client.finish()
