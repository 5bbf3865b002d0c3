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
from mpcinfer.prompt_weights.weights import PromptWeights, private_columns
from mpcinfer.prompts import Text, prompt_ids, require_room
from mpcinfer.reading import Labelled, embeddings, labelled
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
from protocols.plan import Plan


class PrivateClient:
    """A connected session with a server; made by `connect_client`.

    Attributes:
        public: what the client knows of the model.
    """

    def __init__(
        self, public: PublicModel, steps: StepClient, channel: TcpChannel | None, notes: Sequence[str] = ()
    ) -> None:
        self.public, self._notes = public, notes
        self._steps, self._channel = steps, channel
        self._remembered, self._then = Remembered(self._step, steps.rewind, steps.weigh), 0
        self._speculated: list[Speculation] = []
        self._bill: Bill | None = None

    @property
    def max_context(self) -> int:
        """The most tokens the session holds, prompt and answer together."""
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
        weights: PromptWeights | None = None,
    ) -> Answer:
        """The model's continuation of a text. The server learns its length in tokens, not the text.

        Args:
            prompt: text; for a chat model, `public.tokenizer.chat(...)` makes one of a conversation.
            max_new_tokens: the most tokens to generate; the server learns how many there were.
            on_text: is told of the whole answer so far after each token.
            keep_cache: a conversation goes on: of the prompt, which holds all of it, the tokens at its start
                that the session has seen already are not run again. The server learns how many those are.
            speculate: the most drafts that a pass checks, from 0 to 64. Rounds a pass stay what they are,
                bytes and computing grow with the tokens of it. The server learns how many drafts each pass
                has and how many of them were right, which says how predictable the answer is.
            draft: makes them, here and in the clear: `look_up`, or what `mpcinfer.load_draft` gives.
            weights: how often examples of the prompt count in softmax attention; no byte more or less, and
                the server cannot tell. Where they change, `keep_cache` keeps nothing; it sees that.

        Raises:
            ConfigError: an empty prompt, or one that fills the session's maximum context; drafts over a
                folder of correlations; weights of examples that the prompt lacks, or for other attention.
            CorrelationExhausted: there are no correlations for it.
            PeerError: the server or the dealer went away or sent what it should not.
            RangeError: weights that are further apart than rings hold, before anything is sent; or, where
                ranges are checked, a value left its range: the token that it was for, and all after it, are
                not told to `on_text`.
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
        self._remembered.weigh(private_columns(self.public, [prompt], [weights]))
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
        )

    def complete_batch(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 24,
        sampler: Sampler | Sequence[Sampler] = greedy,
        on_text: OnBatchText | None = None,
        weights: Sequence[PromptWeights | None] | None = None,
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
            weights: of each prompt's examples, as in `complete`; None for a prompt without.

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
        given = Prompts.of(self.public, prompts, steps.batch, steps.first_tokens)
        samplers = [sampler] * given.count if callable(sampler) else list(sampler)
        self._remembered.weigh(private_columns(self.public, prompts, weights, given.padding))
        self._remembered.forget()
        steps.restart()
        if steps.batch.padded:
            steps.pad(given.padding)
        steps.expect(min(max_new_tokens, self.max_context - given.length) - 1)
        return batch_answers(
            steps.step, self.public, given, max_new_tokens, samplers, on_text, context=self.max_context
        )

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
        self._remembered.weigh(None)
        self._remembered.forget()
        steps.restart()
        if steps.batch.padded:
            steps.pad(given.padding)
        steps.expect(0)
        return steps.step([token for ids in given.ids for token in ids])[: given.count]

    def bill_so_far(self) -> Bill:
        """This party's bill up to now; the one that both parties agree on comes with `finish`."""
        return self._steps.bill_so_far()

    def finish(self) -> Bill:
        """Ends the session and returns its bill, the server's part included; safe to repeat."""
        if self._bill is None:
            self._bill = self._steps.finish()
            if self._speculated:
                self._bill.notes.append(_speculation_says(self._speculated))
            if self._channel is not None:  # what a shaped one adds is not billed
                self._bill.notes.append(_kernel_says(self._channel, self._bill))
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
                if not keep_cache:
                    self._remembered.forget()
            self._then = course.after(len(ids), rows)
            return self._remembered(ids, rows)

        return predict


def _speculation_says(answers: Sequence[Speculation]) -> str:
    """A note on the bill."""
    passes, drafted = sum(each.passes for each in answers), sum(each.drafted for each in answers)
    accepted = sum(each.accepted for each in answers)
    return (
        f"speculation: {passes:,} passes with {drafted:,} drafts, {accepted:,} of them accepted; the server "
        "saw these numbers, pass by pass"
    )


def _fetched_says(public: PublicModel, pinned: str | None) -> str:
    """A note on the bill."""
    pin = "as pinned" if pinned else "not pinned: that they are right is the server's word"
    return f"shape, ranges and tokenizer came from the server, digest {public.digest()}, {pin}"


def _kernel_says(channel: TcpChannel, bill: Bill) -> str:
    """The bill's wire bytes next to what the kernel counted on the connection to the server."""
    counted = channel.kernel_bytes()
    if counted is None:
        return "the kernel does not tell what went through the socket; wire bytes are computed"
    total, (greeting_sent, greeting_received) = bill.total, channel.preamble_bytes()
    billed = (total.wire_bytes_to_server + greeting_sent, total.wire_bytes_to_client + greeting_received)
    verdict = "exactly as billed" if counted == billed else f"but {billed[0]:,} and {billed[1]:,} were billed"
    return (
        f"the kernel counted {counted[0]:,} bytes to the server and {counted[1]:,} to the client: {verdict}"
    )


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

    Raises:
        HandshakeFailed: another version, plan, model, digest or key at the server, or only one of the two
            checks ranges.
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
        first = 0 if prompt is None else len(prompt_ids(public, prompt(public)))
        if correlations is None:  # which are for as many tokens as they are
            require_room(first, suite.session_context(public.config, max_context), public.config.context)
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
            notes.append(_fetched_says(fetched, digest))
        session = stack.enter_context(suite.open(link, session_config))
        steps = StepClient(link, session)
        client = PrivateClient(session_config.public, steps, None if shape else channel, notes)
        try:
            yield client
        except RangeError:  # of this answer: the server need not know
            client.finish()
            raise
        client.finish()
