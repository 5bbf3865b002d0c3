"""The client: owns the prompt, picks the tokens, gets the answer and the bill."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.batch_answers import OnBatchText, Prompts, batch_answers
from mpcinfer.generation import Predict, Remembered
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.weights import PromptWeights, private_columns
from mpcinfer.prompts import Text, prompt_ids
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.reading import Labelled, embeddings, labelled
from mpcinfer.roles.bill_notes import (
    CountPasses,
    going_on_says,
    kernel_says,
    padding_says,
    speculation_says,
)
from mpcinfer.roles.next_pass import NextPass
from mpcinfer.roles.padded_steps import PaddedSteps
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.speculation import NO_FOLDER, Draft, Speculation, look_up, speculation
from parties.bill import Bill
from parties.errors import ConfigError
from parties.tcp import TcpChannel
from parties.wire import Frame


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
        buckets: Buckets | None = None,
        count: CountPasses | None = None,
    ) -> None:
        self.public, self._notes, self.public_prefix = public, notes, public_prefix
        self._steps, self._channel, self._count = steps, channel, count
        self._padded = padded = PaddedSteps(steps, buckets)
        first = () if public_prefix is None else public_prefix.ids
        self._remembered, self._then = (
            Remembered(self._step, padded.rewind, first, padded.weigh, apart=steps.apart),
            0,
        )
        self._speculated: list[Speculation] = []
        self._going_on = 0
        self._bill: Bill | None = None

    @property
    def _prefixed(self) -> bool:
        return self.public_prefix is not None

    @property
    def max_context(self) -> int:
        """The most tokens the session holds, public prefix, prompt and answer together."""
        return self._steps.context

    def prepare(self, prompt_tokens: int, new_tokens: int = 1, *, keep_cache: bool = False) -> None:
        """Has everything dealt and prepared that a prompt and its answer will take, and waits for it.

        Nothing has to be prepared: `complete` asks for what is missing as it goes. What is prepared here and
        not used, because the prompt has another length or the answer ends early, is thrown away. Where
        prompts are padded, it is prepared for the padded one.

        Args:
            prompt_tokens: of the next prompt, exactly; with `keep`, those that the session does not hold yet.
            new_tokens: of its answer, at most; where prompts are padded, the `max_new_tokens` of `complete`.
            keep_cache: as in `complete`.

        Raises:
            CorrelationExhausted: there are no correlations for it.
            PeerError: the server or the dealer went away or sent what it should not.
        """
        if not keep_cache:
            self._remembered.forget()
        if not self._remembered.holds:
            prompt_tokens = self._padded.length_of(prompt_tokens, new_tokens)
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
        """The model's continuation of a text. The server learns its length in tokens, or in a session with
        buckets the bucket, not the text.

        Args:
            prompt: text; for a chat model, `public.tokenizer.chat(...)` makes one of a conversation. After a
                public prefix what follows it, or a whole conversation that begins with it.
            max_new_tokens: the most tokens to generate; the server learns how many there were.
            on_text: is told of the whole answer so far after each token.
            keep_cache: a conversation goes on: of the prompt, which holds all of it, the turns at its start
                that the session has seen already are not run again. The server learns how many tokens those
                have, and so after which turn a conversation was changed. With buckets the first prompt is
                padded, and what follows in later turns is not: the server learns how many new tokens each
                has. Without `keep_cache` all prompts are padded, and run whole.
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
        self._remembered.weigh(private_columns(self.public, [prompt], [weights], prefixed=self._prefixed))
        keep, room = self._begin(prompt, max_new_tokens, keep_cache)
        predict = self._predictions(max_new_tokens, keep, room, drafting is not None)
        said = answer(
            predict,
            self.public,
            prompt,
            max_new_tokens,
            sampler,
            on_text,
            context=room,
            speculation=drafting,
            public_prefix=self.public_prefix,
        )
        self._remembered.end(said.ids)
        return said

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
        learns the number of tokens of the longest prompt, or with buckets the bucket, and of the longest
        answer: nothing of the others, nor how many of the session's `batch` prompts there are.

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
        given = Prompts.of(self.public, prompts, steps.batch, steps.first_tokens, self.public_prefix)
        given = given.padded_to(self._padded.length_of(given.length, max_new_tokens))
        samplers = [sampler] * given.count if callable(sampler) else list(sampler)
        self._remembered.weigh(
            private_columns(self.public, prompts, weights, given.padding, prefixed=self._prefixed)
        )
        self._remembered.forget()
        self._padded.begin_batch(given)
        room, step = self.max_context - steps.length, self._padded.step_batch
        steps.expect(min(max_new_tokens, room - given.length) - 1)
        return batch_answers(step, self.public, given, max_new_tokens, samplers, on_text, context=room)

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
        given = given.padded_to(self._padded.length_of(given.length, 0))
        self._remembered.weigh(None)
        self._remembered.forget()
        self._padded.begin_batch(given)
        self._steps.expect(0)
        return self._padded.step_batch([token for ids in given.ids for token in ids])[: given.count]

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
            if self._channel is not None:
                self._bill.notes.append(kernel_says(self._channel, self._bill))
            self._bill.notes.extend(self._notes)
            self._steps.part()
            self._bill.notes.extend(self._padding_notes())
        return self._bill

    def _padding_notes(self) -> list[str]:
        """For this party's bill alone."""
        notes: list[str] = []
        if self._padded.padded_to and self._count is not None:
            notes.append(padding_says(self._padded, self._steps.batch, self._count))
        if self._going_on:
            notes.append(going_on_says(self._going_on))
        return notes

    def _step(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        return self._padded.step(ids, rows, self._then)

    def _begin(self, prompt: str, max_new_tokens: int, keep_cache: bool) -> tuple[bool, int]:
        """Whether a prompt goes on from what is kept, and how many tokens it and its answer may have; where
        it begins a conversation, padding comes before it."""
        if not self._steps.batch.padded:
            return keep_cache, self.max_context
        ids = prompt_ids(self.public, prompt)
        kept, before = self._remembered.kept(ids, keep=keep_cache), self._padded.padding
        if kept and len(ids) + before < self.max_context:  # otherwise there may be room with less padding
            return True, self.max_context - before
        return False, self.max_context - self._padded.begin(len(ids), max_new_tokens)

    def _predictions(self, max_new_tokens: int, keep: bool, room: int, drafting: bool) -> Predict:
        """The function that gives logits: its first call begins a prompt, and asks for passes ahead."""
        course: NextPass | None = None

        def predict(ids: Sequence[int], rows: int) -> torch.Tensor:
            nonlocal course
            if course is None:
                end = min(len(ids) - (rows - 1) + max_new_tokens, room)
                course = NextPass(end)
                self._steps.expect(0 if drafting else end - len(ids) - 1)
                self._remembered.begin(ids[: len(ids) - (rows - 1)], keep=keep)
                self._going_on += self._steps.batch.padded and self._remembered.holds
            self._then = course.after(len(ids), rows)
            return self._remembered(ids, rows)

        return predict
