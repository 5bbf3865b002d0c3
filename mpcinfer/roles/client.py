"""The client: owns the prompt, picks the tokens, gets the answer and the bill."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.batch_answers import OnBatchText, Prompts, batch_answers
from mpcinfer.generation import Predict, Remembered
from mpcinfer.models.batch import Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.models.public_document import require_digest
from mpcinfer.prefix.file import load_part
from mpcinfer.prompts import Text, require_room
from mpcinfer.public_prefix import PrefixText, PublicPrefix, private_tokens
from mpcinfer.reading import Labelled, embeddings, labelled
from mpcinfer.roles.bill_notes import fetched_says, kernel_says, speculation_says
from mpcinfer.roles.next_pass import NextPass
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.progress import Progress
from mpcinfer.sessions.public_exchange import fetch_public
from mpcinfer.sessions.session_config import SessionConfig, require_source
from mpcinfer.speculation import NO_FOLDER, Draft, Speculation, look_up, speculation
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from mpcinfer.verification import unchecked
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, Meter
from parties.shaped import Shape, over
from parties.tcp import TcpChannel, connect
from parties.wire import Frame
from protocols.plan import Plan


class PrivateClient:
    """A connected session with a server; made by `connect_client`.

    Attributes:
        public: what the client knows of the model.
        prefix: what comes before every prompt, and the server knows; None for nothing.
    """

    def __init__(
        self,
        public: PublicModel,
        steps: StepClient,
        channel: TcpChannel | None,
        notes: Sequence[str] = (),
        public_prefix: PublicPrefix | None = None,
    ) -> None:
        self.public, self._notes, self.public_prefix = public, notes, public_prefix
        self._steps, self._channel = steps, channel
        self._remembered = Remembered(
            self._step, steps.rewind, () if public_prefix is None else public_prefix.ids
        )
        self._then = 0
        self._speculated: list[Speculation] = []
        self._bill: Bill | None = None

    @property
    def max_context(self) -> int:
        """The most tokens the session holds, public prefix, prompt and answer together."""
        return self._steps.context

    def prepare(self, prompt_tokens: int, new_tokens: int = 1, *, keep_cache: bool = False) -> None:
        """Has everything dealt and prepared that a prompt and its answer will take, and waits for it.

        Nothing has to be prepared: `complete` asks for what is missing as it goes. What is prepared here and
        not used, because the prompt has another length or the answer ends early, is thrown away.

        Args:
            prompt_tokens: of the next prompt, exactly; with `keep`, those that the session does not hold yet.
            new_tokens: of its answer, at most.
            keep_cache: as in `complete`.

        Raises:
            CorrelationExhausted: there are no correlations for it.
            PeerError: the server or the dealer went away or sent what it should not.
        """
        if not keep_cache:
            self._remembered.forget()
        self._steps.prepare([prompt_tokens, *(1,) * (new_tokens - 1)])

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 24,
        sampler: Sampler = greedy,
        on_text: OnText | None = None,
        keep_cache: bool = False,
        speculate: int = 0,
        draft: Draft = look_up,
    ) -> Answer:
        """The model's continuation of a text. The server learns its length in tokens, not the text.

        Args:
            prompt: text; for a chat model, `public.tokenizer.chat(...)` makes one of a conversation. After a
                public prefix what follows it, or a whole conversation that begins with it.
            max_new_tokens: the most tokens to generate; the server learns how many there were.
            on_text: is told of the whole answer so far after each token.
            keep_cache: a conversation goes on: of the prompt, which holds all of it, the turns at its start
                that the session has seen already are not run again. The server learns how many tokens those
                have, and so after which turn a conversation was changed.
            speculate: the most drafts that a pass checks, from 0 to 64. Rounds a pass stay what they are,
                bytes and computing grow with the tokens of it. The server learns how many drafts each pass
                has and how many of them were right, which says how predictable the answer is.
            draft: makes them, here and in the clear: `look_up`, or what `mpcinfer.load_draft` gives.

        Raises:
            ConfigError: an empty prompt, or one that fills the session's maximum context; drafts over a
                folder of correlations.
            CorrelationExhausted: there are no correlations for it.
            PeerError: the server or the dealer went away or sent what it should not.
            RangeError: where ranges are checked, a value left its range; the token that it was for, and all
                after it, are not told to `on_text`.
        """
        if self._steps.batch.several:
            raise ConfigError(
                f"complete: the session runs {self._steps.batch.size} prompts a pass: complete_batch"
            )
        drafting = speculation(speculate, draft)
        if drafting is not None:
            if not self._steps.on_demand:
                raise ConfigError(NO_FOLDER)
            self._speculated.append(drafting)
        predict = self._predictions(max_new_tokens, keep_cache, drafting is not None)
        return answer(
            predict,
            self.public,
            prompt,
            max_new_tokens,
            sampler,
            on_text,
            context=self.max_context,
            speculation=drafting,
            public_prefix=self.public_prefix,
        )

    def complete_batch(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 24,
        sampler: Sampler | Sequence[Sampler] = greedy,
        on_text: OnBatchText | None = None,
    ) -> list[Answer]:
        """The model's continuations of several texts, a pass a token for all of them together.

        Rounds are those of one prompt, bytes those of `batch` prompts as long as the longest. The server
        learns the number of tokens of the longest prompt and of the longest answer: nothing of the others,
        nor how many of the session's `batch` prompts there are.

        Args:
            prompts: up to as many as the session's `batch`.
            max_new_tokens: of each answer, at most; all have the room that the longest prompt leaves.
            sampler: for all, or one for each.
            on_text: is told, after each token, a prompt's number, from 0, and its answer so far.

        Raises:
            ConfigError: a session of one prompt a pass, too many prompts, an empty one, one that fills the
                maximum context, or different lengths in a session of equal ones.
            PeerError, RangeError: as `complete`; the range of any prompt's values.
        """
        steps = self._steps
        if not steps.batch.several:
            raise ConfigError(
                "complete_batch: the session was opened for one prompt a pass, not with batch=N"
            )
        given = Prompts.of(self.public, prompts, steps.batch, steps.first_tokens, self.public_prefix)
        samplers = [sampler] * given.count if callable(sampler) else list(sampler)
        self._remembered.forget()
        steps.restart()
        if steps.batch.padded:
            steps.pad(given.padding)
        room = self.max_context - steps.length
        steps.expect(min(max_new_tokens, room - given.length) - 1)
        return batch_answers(steps.step, self.public, given, max_new_tokens, samplers, on_text, context=room)

    def embed(self, texts: Sequence[str], *, normalise: bool = True) -> torch.Tensor:
        """A vector a text, [n, D] in float64, one after the other; the server learns their lengths in tokens.
        In a session of several texts a pass, so many at once, and the server learns how many passes there
        are, and how many tokens the longest text of each has.

        Args:
            texts: for a model with a head of kind embedding.
            normalise: divide each vector by its length, here.

        Raises:
            ConfigError: no texts, one that is too long for the session, different lengths in a session of
                equal ones, or a model of another kind.
            CorrelationExhausted: there are no correlations for it.
            PeerError: the server or the dealer went away or sent what it should not.
            RangeError: where ranges are checked, a value left its range.
        """
        return embeddings(self._read, self.public, texts, context=self.max_context, normalise=normalise)

    def classify(self, texts: Sequence[Text]) -> Labelled:
        """Every text's scores, of a model with a head of kind classes; the server learns none of them.

        Args:
            texts: pairs of texts among them are read as one row each; the server learns how many tokens a
                pair has, and not where the second text begins.

        Errors as for `embed`.
        """
        return labelled(self._read, self.public, texts, context=self.max_context)

    def _read(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """What the head makes of texts, each alone or so many a pass as the session runs."""
        batch, tokens = self._steps.batch, self._steps.first_tokens
        passes = [
            Prompts.of_ids(texts[start : start + batch.size], batch, tokens, "text", start)
            for start in range(0, len(texts), batch.size)
        ]
        return torch.cat([self._read_pass(each) for each in passes])

    def _read_pass(self, given: Prompts) -> torch.Tensor:
        """What the head makes of the texts of one pass, [n, outputs]."""
        steps = self._steps
        self._remembered.forget()
        steps.restart()
        if steps.batch.padded:
            steps.pad(given.padding)
        steps.expect(0)
        return steps.step([token for ids in given.ids for token in ids])[: given.count]

    def watch_sent(self, on_sent: Callable[[Frame], None]) -> None:
        """`on_sent` is told of every frame to the server, as the server gets it."""
        self._steps.watch_sent(on_sent)

    def bill_so_far(self) -> Bill:
        """This party's bill up to now; the one that both parties agree on comes with `finish`."""
        return self._steps.bill_so_far()

    def finish(self) -> Bill:
        """Ends the session and returns its bill, the server's part included; safe to repeat."""
        if self._bill is None:
            self._bill = self._steps.finish()
            if self._speculated:
                self._bill.notes.append(speculation_says(self._speculated))
            if self._channel is not None:  # what a shaped one adds is not billed
                self._bill.notes.append(kernel_says(self._channel, self._bill))
            self._bill.notes.extend(self._notes)
            self._steps.part()
        return self._bill

    def _step(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        return self._steps.step(ids, rows, then=self._then)

    def _predictions(self, max_new_tokens: int, keep_cache: bool, drafting: bool) -> Predict:
        """The function that gives logits: its first call begins a prompt, and asks for passes ahead."""
        course: NextPass | None = None

        def predict(ids: Sequence[int], rows: int) -> torch.Tensor:
            nonlocal course
            if course is None:
                end = min(len(ids) - (rows - 1) + max_new_tokens, self.max_context)
                course = NextPass(end)
                self._steps.expect(0 if drafting else end - len(ids) - 1)
                self._remembered.begin(ids[: len(ids) - (rows - 1)], keep=keep_cache)
            self._then = course.after(len(ids), rows)
            return self._remembered(ids, rows)

        return predict


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
    check_ranges: bool = False,
    insecure_dealer: bool = False,
    shape: Shape | None = None,
    batch: int = 1,
    equal_lengths: bool = False,
    public_prefix: PrefixText | None = None,
    prefix: str | None = None,
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

    Raises:
        HandshakeFailed: another version, plan, model, digest, key or prefix of either kind at the server, or
            only one of the two checks ranges.
        PeerError: the server or the dealer went away or sent what it should not.
        ConfigError, RangeError: the model cannot be run under the plan, the prompt has tokens that the model
            has not or more than the session holds, ranges cannot be checked, or the model, the plan or a
            folder of correlations is not for batches.
        InsecureRefused: neither dealer nor correlations, and an insecure dealer was not asked for.
    """
    suite = suite_of(plan)
    if DEALER in suite.helpers:
        require_source(dealer, correlations, insecure_dealer)

    def ready(public: PublicModel) -> SessionConfig:
        require_digest(public, digest)
        known = None if public_prefix is None else public_prefix.of(public)
        before = 0 if known is None else len(known)
        first = 0 if prompt is None else private_tokens(public, known, prompt(public))
        if correlations is None:  # which are for as many tokens as they are
            room = suite.session_context(public.config, max_context)
            require_room(before + first, room, public.config.context)
        return suite.ready(
            SessionConfig(
                plan=plan,
                public=public,
                keys=keys,
                dealer=dealer,
                correlations=correlations,
                timeout_s=timeout_s,
                max_context=max_context,
                first=0 if drafts else first,
                on_progress=on_progress,
                check_ranges=check_ranges,
                insecure_dealer=insecure_dealer,
                shape=shape,
                batch=Batch.of(batch, equal_lengths=equal_lengths),
                public_prefix=known,
                prefix=None if prefix is None else load_part(prefix, public),
            )
        )

    session_config = None if public is None else ready(public)
    channel = connect(
        server.endpoint, keys, server.public_key, connect_timeout_s=timeout_s, recv_timeout_s=timeout_s
    )
    with ExitStack() as stack:
        link = stack.enter_context(Link(over(channel, shape), Meter(), CLIENT))
        notes = [] if check_ranges else [unchecked(plan)]
        if session_config is None:
            fetched = fetch_public(link, name=f"the model at {server.endpoint}", pinned=digest)
            session_config = ready(fetched)
            notes.append(fetched_says(fetched, digest))
        session = stack.enter_context(suite.open(link, session_config))
        steps = StepClient(link, session)
        known = session_config.public_prefix
        client = PrivateClient(session_config.public, steps, None if shape else channel, notes, known)
        try:
            yield client
        except RangeError:  # of this answer: the server need not know
            client.finish()
            raise
        client.finish()
