"""A private run of the FSS suite at one party: prepared ahead of the input, then run online."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate

import torch

from mpcinfer.models.batch import Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.state_cache import cache_of
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.prompt_weights.weights import require_weighable
from mpcinfer.sessions.progress import Stage
from mpcinfer.sessions.session import PrivateSession, rewind_cache
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.fss.column_weights import require_room
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.public_prefix import BRING_AT_CLIENT, BRING_SHAPES, Bring, bring_at_server
from mpcinfer.suites.fss.range_check import CHECKED
from mpcinfer.suites.fss.weights import receive_setup, send_setup
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER, Phase
from parties.randomness import Randomness
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Offline, Preparation
from protocols.fss.executors.products_ahead import ProductsAhead
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.encrypted import EncryptedProducts
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.preprocessing.source import CorrelationSource, RunCorrelations, RunShape
from protocols.fss.registry import OPERATIONS
from protocols.plan import disclosures_of
from protocols.seeding import SEED_LABEL

UNUSED = "unused"
"""Under this label the bill shows what was dealt for passes that were never run."""


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A pass whose offline part is done."""

    shape: RunShape
    correlations: RunCorrelations
    results: deque[torch.Tensor]


class FssPrivateSession(PrivateSession):
    """A model on masked values, with its KV cache.

    A pass is asked for, dealt while the parties do something else, prepared together, and then run once or
    thrown away. Both parties take the same steps in the same order.

    Args:
        link: to the other party, after the handshake.
        program: the same at both parties and the dealer.
        weights: the server's weights, as `fss_over` makes them; None at the client.
        source: where correlations come from.
        progress: keeps count of what was asked for and came.
        asked: passes that were asked of the source already.
        prefix: this party's summands, where the program has a prefix.
    """

    def __init__(
        self,
        link: Link,
        program: Program,
        weights: Mapping[str, Matrix] | None,
        source: CorrelationSource,
        progress: Tally,
        asked: Sequence[RunShape] = (),
        prefix: PrefixPart | None = None,
    ) -> None:
        self._link, self._program, self._source, self._progress = link, program, source, progress
        if weights is not None:
            assert source.weight_streams is not None
            send_setup(link, weights, source.weight_streams)
            self._weights, bring = weights, bring_at_server(source.weight_streams)
        else:
            self._weights = receive_setup(link, program.matrices(), progress.setup)
            bring: Bring = BRING_AT_CLIENT
        self._cache = program.cache(self._weights, bring)
        self._shadow = program.cache(self._weights, BRING_SHAPES, reversible=program.max_context)
        assert (prefix is None) == (program.prefix is None), "a prefix has summands"
        self._prefix = prefix
        self._asked = deque(asked)
        self._prepared: deque[_Prepared] = deque()
        self._unused = self._unused_bytes = 0
        self._collected = 0
        self._encrypted = EncryptedProducts(link)
        self._products: ProductsAhead | None = None
        if weights is None and not program.sharing.encrypted:
            self._products = ProductsAhead(
                self._walk_ahead, self._linear_stream, lambda weight: weight.value, program.batch.size
            )

    @property
    def first(self) -> int:
        return self._program.public_prefix

    @property
    def length(self) -> int:
        return self._cache.length

    @property
    def context(self) -> int:
        return self._program.max_context

    @property
    def batch(self) -> Batch:
        return self._program.batch

    @property
    def notes(self) -> list[str]:
        said = disclosures_of(self._program.plan, OPERATIONS)
        if self._program.second is not None:
            said.append(CHECKED)
        if self._unused:
            dealt = f"{self._unused_bytes:,} of the offline bytes"
            said.append(f"{self._unused} passes were dealt for and never run: {dealt}")
        return said

    @property
    def prepared_end(self) -> int:
        if self._asked:
            return self._asked[-1].end
        return self._prepared[-1].shape.end if self._prepared else self.length

    @property
    def on_demand(self) -> bool:
        return self._source.on_demand

    @property
    def apart(self) -> bool:
        return self._program.plan.chunk == 0

    @property
    def first_tokens(self) -> int | None:
        return self._source.first_tokens

    def wanted(self, tokens: int, rows: int, then: int) -> tuple[int, int, int] | None:
        """The step itself where it was not asked for; then the one after it, to be dealt while it runs.

        No more than that: a dealer that is asked for several makes the parties wait for all of them before
        the first, and what an answer that ends early leaves unused is one pass's.
        """
        step, end = RunShape(self.length, tokens, rows), self.prepared_end
        if self._first() != step:
            return self.length, tokens, rows
        return (end, then, then) if then and end == step.end <= self.context - then else None

    def check(self, start: int, lengths: Sequence[int], rows: int = 1) -> None:
        self._source.check(_consecutive(start, lengths, rows))

    def prepare(self, lengths: Sequence[int], rows: int = 1) -> None:
        runs = _consecutive(self.prepared_end, lengths, rows)
        self._collect_asked()
        if self._progress.listened_to and runs[0].tokens > 1:
            self._progress.expect(self._program.dealt_bytes(runs[0].tokens))
        self._source.request(runs)
        self._asked.extend(runs)
        self._progress.add(of=len(runs))

    def settle(self) -> None:
        self._collect_asked()

    def require_room(self, columns: ColumnWeights) -> None:
        require_weighable(self._program.config, private=True, prefixed=self._program.prefix is not None)
        require_room(self._program.widths, columns)

    def rewind(self, length: int) -> None:
        while self._asked:
            self._give_up(self._collect(), linear=True)
        while self._prepared:
            self._give_up(self._prepared.popleft().correlations, linear=False)
        rewind_cache(self._cache, length)
        rewind_cache(self._shadow, length)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        step = RunShape(self.length, count, rows)
        if step.end > self.context:
            raise ConfigError(f"{step.end} tokens do not fit the session's maximum context of {self.context}")
        if self._first() != step:
            self.rewind(step.start)
            self.prepare([count], rows)
        if not self._prepared:
            self._prepare_next()
        return self._run(self._prepared.popleft(), ids)

    def close(self) -> None:
        """Gives up the files of what was not run; safe to repeat."""
        while self._prepared:
            self._prepared.popleft().correlations.close()

    # -- one pass --------------------------------------------------------------------------------------------

    def _first(self) -> RunShape | None:
        """The next pass that is prepared or at least asked for."""
        if self._prepared:
            return self._prepared[0].shape
        return self._asked[0] if self._asked else None

    def _collect(self) -> RunCorrelations:
        """The correlations of the first pass asked for."""
        meter = self._link.meter
        with meter.span(SEED_LABEL, SEED_LABEL), meter.phase(Phase.OFFLINE):
            correlations = self._source.collect()
        self._asked.popleft()
        self._collected += 1
        self._progress.add(runs=1)
        return correlations

    def _collect_asked(self) -> None:
        while self._asked:
            self._prepare_next()

    def _prepare_next(self) -> None:
        """The offline pass: linear layers ahead of the input."""
        shape, correlations = self._asked[0], self._collect()
        with ExitStack() as unless_done:
            unless_done.callback(correlations.close)
            ahead = self._products
            executor = Preparation(
                self._link,
                correlations.linear,
                correlations.streams.linear,
                exact_truncation=is_faithful(self._program.plan),
                products=None if ahead is None else ahead.take(self._collected, shape.tokens, shape.rows),
                encrypted=self._encrypted,
            )
            meter, layers = self._link.meter, self._program.layers
            with meter.phase(Phase.OFFLINE), self._progress.layers(meter, Stage.OFFLINE, layers):
                self._program.walk(executor, self._weights, self._shadow, shape.tokens, rows=shape.rows)
            _require_used(correlations.linear.left_bytes)
            unless_done.pop_all()
        self._prepared.append(_Prepared(shape, correlations, executor.prepared))

    def _walk_ahead(self, executor: Offline, tokens: int, rows: int) -> None:
        """The offline pass of an executor that computes ahead."""
        self._program.walk(executor, self._weights, cache_of(self._program.plan.chunk), tokens, rows=rows)

    def _linear_stream(self, number: int) -> Randomness | None:
        return self._source.linear_ahead(number - self._collected)

    def _run(self, ready: _Prepared, ids: Sequence[int] | None) -> torch.Tensor | None:
        """The online pass."""
        correlations = ready.correlations
        with closing(correlations):
            executor = Party(
                self._link,
                correlations.gates,
                correlations.streams.gates,
                correlations.hash,
                ready.results,
                exact_truncation=is_faithful(self._program.plan),
            )
            tokens, rows = ready.shape.tokens, ready.shape.rows
            with self._progress.layers(self._link.meter, Stage.ONLINE, self._program.layers):
                logits = self._program.walk(
                    executor,
                    self._weights,
                    self._cache,
                    tokens,
                    ids,
                    rows=rows,
                    padding=self.padding,
                    prefix=self._prefix,
                    columns=self.columns,
                )
            _require_used(correlations.gates.left_bytes + len(ready.results))
        return logits

    def _give_up(self, correlations: RunCorrelations, *, linear: bool) -> None:
        """Throws a pass away, and bills what was dealt for it and is not billed yet."""
        correlations.close()
        dealt, meter = correlations.dealt, self._link.meter
        server = dealt.server + (dealt.linear if linear else 0)
        with meter.span(UNUSED, UNUSED):
            meter.charge_offline(SERVER, server)
            meter.charge_offline(CLIENT, dealt.client)
        self._unused, self._unused_bytes = self._unused + 1, self._unused_bytes + sum(dealt.to_plain())


def _consecutive(start: int, lengths: Sequence[int], rows: int) -> list[RunShape]:
    """Passes one after the other."""
    ends = list(accumulate(lengths, initial=start))
    return [RunShape(first, tokens, rows) for first, tokens in zip(ends, lengths, strict=False)]


def _require_used(left: int) -> None:
    """Raises PeerMismatch where a pass left something of its correlations."""
    if left:
        raise PeerMismatch(
            f"{left} parts of the correlations are left after a pass: the dealer ran another program"
        )
