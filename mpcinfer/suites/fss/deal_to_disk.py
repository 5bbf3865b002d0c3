"""Dealing to disk: correlations for whole conversations, before anybody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from itertools import accumulate
from pathlib import Path

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.fss.deal_elsewhere import deal_elsewhere
from mpcinfer.suites.fss.dealing import ModelDealer, Writers
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.requests import Ahead
from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from parties.randomness import SystemRandom
from protocols.fss.executors.dealing import Writer
from protocols.fss.preprocessing.bundle_store import BundleWriter, Manifest, Store
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.transport import CHUNK_BYTES, Dealt, Part, counted
from protocols.one_time import new_folder
from protocols.plan import Plan
from protocols.seeding import SEED_BYTES

FOLDERS = ("server", "client")
_ID_BYTES = 16


def deal_to_disk(plan: Plan, config: ModelConfig, ranges: Mapping[str, float], ahead: Ahead) -> None:
    """As `Suite.deal_ahead`."""
    prompt, answer, count, out = ahead.prompt, ahead.answer, ahead.count, ahead.out
    if min(prompt, answer, count) < 1:
        raise ConfigError("prompt, answer and count are at least 1")
    if not ranges:
        raise ConfigError("the model was never calibrated: run `mpcinfer calibrate`")
    if config.head != "vocabulary" and answer > 1:
        raise ConfigError(
            f"answer: a model with head={config.head} reads texts and continues none: --answer 1"
        )
    program = Program.of(plan, config, ranges, prompt + answer, batch=ahead.batch, prefix=ahead.prefix)
    new_folder(out)
    folders = [new_folder(out / name) for name in FOLDERS]
    lengths = [prompt, *(1,) * (answer - 1)]
    randomness = SystemRandom()
    weights = randomness.draw_bytes(SEED_BYTES)
    if ahead.elsewhere is None:
        job = _Job(program, lengths, count, folders, ahead.on_progress)
        for index in range(count):
            job.deal(index, DealerSeeds.fresh(randomness, weights))
    else:
        deal_elsewhere(ahead.elsewhere, program, lengths, [weights] * count, folders, ahead.on_progress)
    name = randomness.draw_bytes(_ID_BYTES).hex()
    for rank, folder in enumerate(folders):
        Manifest(
            id=name,
            rank=rank,
            session=program.to_document(),
            lengths=lengths,
            count=count,
            command=ahead.command,
            weights=weights.hex() if rank == SERVER else "",
        ).save(folder)


def skip(folder: Path, to: int) -> tuple[int, int]:
    """As `Suite.skip`."""
    with closing(Store(folder)) as store:
        before = store.next
        store.skip_to(to)
        return to - before, store.manifest.count - to


class _Job:
    """One call's dealing."""

    def __init__(
        self,
        program: Program,
        lengths: list[int],
        count: int,
        folders: list[Path],
        on_progress: Callable[[int, int, int], None] | None,
    ) -> None:
        self._program, self._folders = program, folders
        ends = list(accumulate(lengths))
        self._runs = [RunShape(end - tokens, tokens) for end, tokens in zip(ends, lengths, strict=True)]
        self._of, self._done, self._bytes = count * len(lengths), 0, 0
        self._on_progress = on_progress

    def deal(self, index: int, seeds: DealerSeeds) -> None:
        """One bundle."""
        dealer, dealt = ModelDealer(self._program, seeds), list[Dealt]()
        with ExitStack() as stack:
            bundles = [stack.enter_context(closing(BundleWriter(each, index))) for each in self._folders]
            writers = Writers(
                server=self._telling(bundles[SERVER].writer(Part.GATES)),
                client=self._telling(bundles[CLIENT].writer(Part.GATES)),
                linear=self._telling(bundles[SERVER].writer(Part.LINEAR)),
            )
            for number, run in enumerate(self._runs):
                dealt.append(dealer.deal(number, run, writers))
                self._done += 1
                self._tell()
            for bundle, own in zip(bundles, (seeds.server, seeds.client), strict=True):
                bundle.end(own, dealt)

    def _telling(self, writer: Writer) -> Writer:
        """Counts bytes, and tells of them now and then."""

        def add(size: int) -> None:
            before = self._bytes // CHUNK_BYTES
            self._bytes += size
            if self._bytes // CHUNK_BYTES > before:
                self._tell()

        return counted(writer, add)

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self._of, self._bytes)
