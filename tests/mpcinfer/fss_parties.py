"""Whole models on the FSS suite in one process: dealer first, then server and client as two threads.

All randomness is test randomness, so that a run can be repeated and its masks are known.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.dealing import ModelDealer, Writers
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.range_check import for_check
from mpcinfer.suites.fss.second_evaluation import second_evaluation
from mpcinfer.suites.fss.weights import count_setup, encoded, receive_setup, send_setup
from mpcinfer.suites.fss.wider_ranges import wider_ranges
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.registry import SUITES, get_plan
from parties.bill import Bill
from parties.channel import Channel
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import InsecureTestRandom, Randomness
from parties.threads import run_two_threads
from parties.trace import Trace
from parties.wire import Frame, decode
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.dealing import Dealing, Writer
from protocols.fss.executors.preparation import Preparation
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.encrypted import EncryptedProducts
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Matrix, Products
from protocols.fss.preprocessing.seeds import (
    DealerSeeds,
    RunStreams,
    charge_seeds,
    drawn_masks,
    weight_streams,
)
from protocols.fss.preprocessing.source import RunShape
from protocols.plan import Plan
from tests.protocols.fss.replay import Replay, Watched, as_drawn, as_noted

PROBABILISTIC, EXACT = get_plan("fss"), get_plan("fss-faithful")
ALTERNATIVES = {
    f"{operation}={name}": PROBABILISTIC.replace(**{operation: name})
    for operation, protocols in SUITES["fss"].operations.items()
    for name in protocols
    if name != PROBABILISTIC.choices[operation] and name != EXACT.choices["truncation"]
}
"""The plan `fss` with one protocol replaced by another that is registered."""
QUICK = Precision(cells=4, exact_cells=4)
"""Exact functions over binades take time for every cell."""
Steps = Sequence[Sequence[int]]
"""Token ids, pass by pass, over one KV cache."""
Pass = tuple[torch.Tensor | None, Sequence[torch.Tensor]]
"""A party's logits, if it has any, and what it cut off its additive shares."""


@dataclass(frozen=True, eq=False)
class Whole:
    """A model and its program, with a session's maximum context of tokens.

    Attributes:
        prefix: the server's and the client's summands, where the program has one.
    """

    model: Model
    program: Program
    prefix: tuple[PrefixPart, PrefixPart] | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        plan: Plan,
        max_context: int,
        precision: Precision = QUICK,
        batch: Batch = SINGLE,
    ) -> Whole:
        program = Program.of(plan, model.config, model.ranges, max_context, batch=batch)
        widths = Widths(
            program.folded,
            program.ranges,
            max_context=max_context,
            precision=precision,
            exact_truncation=is_faithful(plan),
            padded=batch.padded,
            states=plan.chunk > 0,
        )
        return cls(model, dataclasses.replace(program, widths=widths))

    @property
    def exact_truncation(self) -> bool:
        return is_faithful(self.program.plan)

    def server_weights(self) -> dict[str, Matrix]:
        """In fixed point."""
        config, weights = fold(self.model.config, self.model.weights)
        sharing, second = self.program.sharing, self.program.second
        result = encoded(config, self.program.widths, weights, sharing=sharing)
        if second is not None:
            result |= for_check(encoded(config, second.widths, weights, sharing=sharing))
        return result

    def checked(self, precision: Precision = QUICK) -> Whole:
        """The same with every pass evaluated twice."""
        program = self.program
        second = second_evaluation(
            program.plan, program.folded, program.ranges, max_context=program.max_context
        )
        bits = wider_ranges(program.ranges, 1)
        widths = Widths(
            program.folded,
            bits,
            max_context=program.max_context,
            precision=precision,
            exact_truncation=self.exact_truncation,
        )
        second = dataclasses.replace(second, widths=widths)
        return Whole(self.model, dataclasses.replace(program, second=second))


@dataclass(eq=False)
class PrivateRun:
    """What came of it.

    Attributes:
        logits: the client's, [V] a pass.
        bills: the server's and the client's.
        frames: all that each party sent: set-up, ahead of the input, and online.
        low_bits: what the client cut off its additive shares, pass by pass.
    """

    logits: list[torch.Tensor]
    bills: tuple[Bill, Bill]
    frames: tuple[list[Frame], list[Frame]]
    low_bits: list[Sequence[torch.Tensor]]


@dataclass(eq=False)
class Correlations:
    """What the dealer wrote for one pass: to the server, to the client, and for linear layers."""

    server: io.BytesIO = field(default_factory=io.BytesIO)
    client: io.BytesIO = field(default_factory=io.BytesIO)
    linear: io.BytesIO = field(default_factory=io.BytesIO)


def fresh_seeds(seed: int) -> DealerSeeds:
    """The same for everybody who asks with the same seed of a test."""
    return DealerSeeds.fresh(InsecureTestRandom(seed))


def pass_streams(seed: int, number: int) -> tuple[RunStreams, RunStreams]:
    """The server's and the client's streams of one pass, afresh."""
    seeds = fresh_seeds(seed)
    return seeds.server.streams(number), seeds.client.streams(number)


def deal(program: Program, counts: Sequence[int], seed: int) -> list[Correlations]:
    """The correlations of passes of so many tokens each."""
    dealer, start, result = ModelDealer(program, fresh_seeds(seed)), 0, list[Correlations]()
    for number, count in enumerate(counts):
        correlations = Correlations()
        files = (correlations.server, correlations.client, correlations.linear)
        dealer.deal(number, RunShape(start, count), Writers(*(_into(file) for file in files)))
        start += count
        result.append(correlations)
    return result


def _into(file: io.BytesIO) -> Writer:
    def write(data: NDArray[np.uint8]) -> None:
        file.write(data.tobytes())

    return write


def run_private(
    whole: Whole,
    steps: Steps,
    *,
    seed: int = 1,
    wrap: Callable[[Channel, int], Channel] = lambda channel, rank: channel,
    padding: Sequence[int] | None = None,
) -> PrivateRun:
    """Deals, then runs all passes at both parties; all correlations must be used up."""
    counts = [len(ids) // whole.program.batch.size for ids in steps]
    return run_dealt(whole, steps, deal(whole.program, counts, seed), seed, wrap, padding)


def run_dealt(
    whole: Whole,
    steps: Steps,
    correlations: Sequence[Correlations],
    seed: int,
    wrap: Callable[[Channel, int], Channel] = lambda channel, rank: channel,
    padding: Sequence[int] | None = None,
) -> PrivateRun:
    """As `run_private`, of what was dealt with that seed."""
    ends = local_pair()
    traces = (Trace(wrap(ends[0], 0), keep_cache=True), Trace(wrap(ends[1], 1), keep_cache=True))

    def party(link: Link) -> tuple[list[Pass], Bill]:
        return _party(link, whole, steps, correlations, seed, padding)

    (_, server_bill), (passes, client_bill) = run_two_threads(party, party, channels=traces)
    frames = ([decode(m) for m in traces[0].sent], [decode(m) for m in traces[1].sent])
    logits = [logits for logits, _ in passes if logits is not None]
    return PrivateRun(logits, (server_bill, client_bill), frames, [low_bits for _, low_bits in passes])


def _party(
    link: Link,
    whole: Whole,
    steps: Steps,
    correlations: Sequence[Correlations],
    seed: int,
    padding: Sequence[int] | None,
) -> tuple[list[Pass], Bill]:
    """One party's session: set-up, then every pass, offline and online."""
    rank, seeds, program = link.rank, fresh_seeds(seed), whole.program
    assert rank is not None
    charge_seeds(link.meter)
    if rank == SERVER:
        weights = whole.server_weights()
        send_setup(link, weights, weight_streams(seeds.server.weights))
    else:
        weights = receive_setup(link, program.matrices())
    encrypted = EncryptedProducts(link, InsecureTestRandom(seed + rank))
    shadow, cache, results = program.cache(), program.cache(), list[Pass]()
    for number, (ids, dealt) in enumerate(zip(steps, correlations, strict=True)):
        streams = pass_streams(seed, number)[rank]
        linear = _reader(dealt.linear.getvalue() if rank == SERVER else b"")
        exact = whole.exact_truncation
        ahead = Preparation(link, linear, streams.linear, exact_truncation=exact, encrypted=encrypted)
        with link.meter.phase(Phase.OFFLINE):
            program.walk(ahead, weights, shadow, len(ids) // program.batch.size)
        gates = _reader((dealt.server if rank == SERVER else dealt.client).getvalue())
        online = Watched(
            link,
            gates,
            streams.gates,
            seeds.server.public_hash(),
            ahead.prepared,
            exact_truncation=whole.exact_truncation,
        )
        own, known = (ids, padding) if rank == CLIENT else (None, None)
        summands = None if whole.prefix is None else whole.prefix[rank]
        count = len(ids) // program.batch.size
        logits = program.walk(online, weights, cache, count, own, padding=known, prefix=summands)
        assert gates.left_bytes == linear.left_bytes == len(ahead.prepared) == 0, "correlations are left"
        results.append((logits, online.low_bits))
    return results, link.meter.bill()


def _reader(content: bytes) -> Reader:
    return Reader(io.BytesIO(content), len(content))


def run_counted(whole: Whole, steps: Steps) -> Bill:
    """The bill, on shapes."""
    counting = Counting(Meter(timed=False), exact_truncation=whole.exact_truncation)
    weights, cache = whole.program.matrices(), whole.program.cache()
    charge_seeds(counting.meter)
    count_setup(counting, weights)
    for ids in steps:
        whole.program.walk(counting, weights, cache, len(ids))
    return counting.meter.bill()


def run_clear(whole: Whole, steps: Steps, rounding: Randomness | None = None) -> list[torch.Tensor]:
    """The reference's logits, [V] a pass: rounded down, or at random."""
    executor = Clear(Meter(timed=False), exact_truncation=whole.exact_truncation, randomness=rounding)
    weights = whole.server_weights()
    cache, states = whole.program.cache(weights), None
    if whole.prefix is not None:
        states = added_up(*whole.prefix)
    passes = (whole.program.walk(executor, weights, cache, len(ids), ids, prefix=states) for ids in steps)
    return [logits for logits in passes if logits is not None]


def added_up(first: PrefixPart, second: PrefixPart) -> PrefixPart:
    """The states themselves."""
    return dataclasses.replace(
        first,
        sums=[a + b for a, b in zip(first.sums, second.sums, strict=True)],
        beside=[a + b for a, b in zip(first.beside, second.beside, strict=True)],
    )


def run_replayed(
    whole: Whole, steps: Steps, run: PrivateRun | None = None, *, seed: int = 1
) -> list[torch.Tensor]:
    """The reference's logits, [V] a pass, under the masks of a private run with this seed.

    Without the run itself, what the client cut off its additive shares is drawn at random.
    """
    weights, cache, result = whole.server_weights(), whole.program.cache(), list[torch.Tensor]()
    for number, ids in enumerate(steps):
        low_bits = as_drawn(InsecureTestRandom(seed)) if run is None else as_noted(run.low_bits[number])
        executor = Replay(Meter(timed=False), _dealing(whole, seed, number), low_bits)
        pairs = whole.program.walk(executor, weights, cache, len(ids), ids)
        assert pairs is not None
        result.append(pairs.reshape(2, -1)[:1])  # of the secrets, not of their masks
    return result


def _dealing(whole: Whole, seed: int, number: int) -> Dealing:
    """The dealer of one pass, whose correlations go nowhere."""
    (server, client), seeds = pass_streams(seed, number), fresh_seeds(seed)
    return Dealing(
        Meter(timed=False),
        writers=(lambda data: None, lambda data: None),
        linear=lambda data: None,
        streams=(server.gates, client.gates),
        linear_streams=(server.linear, client.linear),
        hash=seeds.server.public_hash(),
        products=Products(drawn_masks(weight_streams(seeds.server.weights))),
        exact_truncation=whole.exact_truncation,
    )
