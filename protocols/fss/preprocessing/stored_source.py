"""Correlations from a folder: both parties agree which bundle is next, and use it once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate

from parties.errors import ConfigError, CorrelationExhausted
from parties.link import Link
from parties.meter import SERVER
from parties.randomness import Randomness
from protocols.fss.preprocessing.bundle_store import Bundle, Store
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.seeds import weight_streams
from protocols.fss.preprocessing.source import CorrelationSource, RunCorrelations, RunShape
from protocols.fss.preprocessing.transport import Part
from protocols.one_time import agree_next


class StoredSource(CorrelationSource):
    """Hands out the passes of bundles: of one bundle a conversation, in order.

    Args:
        link: to the other party, to agree on the next bundle.
        store: of this party; closed with the source.

    Raises:
        ConfigError: the folder is the other party's.
    """

    on_demand = False

    def __init__(self, link: Link, store: Store) -> None:
        if store.manifest.rank != link.rank:
            raise ConfigError(f"{store.folder} has the other party's correlations")
        self._link, self._store = link, store
        manifest = store.manifest
        self.weight_streams = weight_streams(bytes.fromhex(manifest.weights)) if link.rank == SERVER else None
        self.first_tokens = manifest.lengths[0]
        ends = list(accumulate(manifest.lengths))
        self._shapes = [
            RunShape(end - tokens, tokens) for end, tokens in zip(ends, manifest.lengths, strict=True)
        ]
        self._bundle: Bundle | None = None
        self._used = self._collected = 0
        self._asked: deque[int] = deque()

    def check(self, runs: Sequence[RunShape]) -> None:
        first = 0 if runs[0].start == 0 else self._used
        if first == 0:
            self._store.require(self._store.next)
        elif self._bundle is None:
            raise CorrelationExhausted(f"{self._store.folder}: no conversation has begun")
        dealt = self._shapes[first : first + len(runs)]
        if list(runs) == dealt:
            return
        prompt, *answer = self._store.manifest.lengths
        asked = next((run for run, shape in zip(runs, dealt, strict=False) if run != shape), runs[-1])
        raise CorrelationExhausted(
            f"{self._store.folder} is for prompts of {prompt} tokens and {len(answer) + 1} new ones, not for "
            f"{asked.tokens} tokens from {asked.start} on; for others: {self._store.manifest.command}"
        )

    def request(self, runs: Sequence[RunShape]) -> None:
        """See `CorrelationSource.request`. Where a conversation starts, both parties say which bundle is
        their next.

        Raises:
            CorrelationExhausted: neither has one left for it, or it was dealt for other passes.
            PeerMismatch: the other party says no number.
        """
        assert not self._asked, "the runs before were not collected"
        self.check(runs)
        if runs[0].start == 0:
            self._begin()
        self._asked.extend(range(self._used, self._used + len(runs)))
        self._used += len(runs)

    def collect(self) -> RunCorrelations:
        assert self._bundle is not None
        run = self._asked.popleft()
        self._collected = run + 1
        gates, linear = (Reader(*self._bundle.section(part, run)) for part in Part)
        seeds = self._bundle.seeds
        return RunCorrelations(
            gates, linear, seeds.streams(run), seeds.public_hash(), self._bundle.dealt[run]
        )

    def linear_ahead(self, later: int) -> Randomness | None:
        run = self._collected - 1 + later
        if self._bundle is None or run >= len(self._shapes):
            return None
        return self._bundle.seeds.linear_ahead(run)

    def close(self) -> None:
        if self._bundle is not None:
            self._bundle.close()
            self._bundle = None
        self._store.close()

    def _begin(self) -> None:
        """The next bundle: the later of both parties' numbers, so that neither uses one twice."""
        index = agree_next(self._link, self._store)
        if self._bundle is not None:
            self._bundle.close()
            self._bundle = None
        self._bundle = self._store.take(index)
        self._used = 0
