"""Runs a program of gates as all four see it: dealer, two parties, reference and bill.

A program is a function of an executor and shares that returns shares. All randomness is test randomness: a
run can be repeated, and its masks can be chosen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch

from parties.bill import BillRow
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import InsecureTestRandom, Randomness
from parties.threads import run_two_threads
from parties.trace import Trace
from parties.wire import Spec, decode, unpack
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Matrix, Products
from protocols.fss.ring import low, signed
from protocols.kernels.aes import Hash
from protocols.meta_tensors import no_data
from protocols.share import Held, Share
from protocols.tensors import to_tensor
from tests.protocols.fss.dealt import Correlations
from tests.protocols.fss.replay import Replay, Watched

Program = Callable[..., Shares]
HASH = Hash(bytes(range(16)))


@dataclass(frozen=True, eq=False)
class Secret:
    """An input: signed integers, and how they are held.

    Attributes:
        mask: r of a masked value, a of a server-held one; drawn from the run's seed where None.
    """

    value: torch.Tensor
    frac_bits: int = 0
    ring_bits: int = 64
    held: Held = Held.MASKED
    mask: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight of the server for linear layers; `at(executor)` is what that executor knows of it."""

    name: str
    value: torch.Tensor
    frac_bits: int = 0
    ring_bits: int = 64
    bias: torch.Tensor | None = None

    @property
    def mask(self) -> torch.Tensor:
        """B, which server and dealer know."""
        stream = InsecureTestRandom(sum(self.name.encode()) + (1 << 64))
        return to_tensor(stream.ring(tuple(self.value.shape), self.ring_bits))

    def at(self, executor: Executor) -> Matrix:
        shape = tuple(self.value.shape)
        value, bias = no_data(shape), None
        if isinstance(executor, Clear | Replay) or (isinstance(executor, Party) and executor.rank == SERVER):
            value, bias = self.value, self.bias
        elif isinstance(executor, Preparation | Party) and executor.rank == CLIENT:
            value = low(self.value - self.mask, self.ring_bits)
        return Matrix(self.name, shape, self.frac_bits, self.ring_bits, value, bias)


@dataclass(frozen=True, eq=False)
class SentFrame:
    """A frame as it went over the channel."""

    sender: int
    label: str
    specs: tuple[Spec, ...]
    arrays: tuple[torch.Tensor, ...]


@dataclass(eq=False)
class Run:
    """What came of a private run, and of the same program elsewhere.

    Attributes:
        masks: the results as the dealer has them.
        server, client: the results as the parties have them.
        clear: the reference's results, with exact (floor) truncation.
        shapes: the results of the counting run.
        bills: measured by the server and by the client, offline and online together.
        counted: the bill that was declared.
        correlations: bytes that the dealer wrote for the server, for the client, and for linear layers.
        low_bits: what the client cut off its additive shares, in order.
        frames, offline_frames: of both parties, each in the order in which it was sent, by phase.
    """

    masks: Shares
    server: Shares
    client: Shares
    clear: Shares
    shapes: Shares
    bills: tuple[BillRow, BillRow]
    counted: BillRow
    correlations: tuple[int, int, int]
    low_bits: Sequence[torch.Tensor]
    frames: list[SentFrame]
    offline_frames: list[SentFrame]

    def secret(self, index: int = 0) -> torch.Tensor:
        """A result put together from what dealer and parties have, as signed integers; a bit as 0 or 1."""
        mask, server, client = self.masks[index], self.server[index], self.client[index]
        ring = server.ring_bits
        if server.held is Held.ADDITIVE:
            return _read(_values(server) + _values(client), ring)
        if server.held is Held.MASKED:
            assert torch.equal(low(server.value, ring), low(client.value, ring))
            return _read(server.value - mask.value, ring)
        if server.held is Held.SERVER_MASKED:
            return _read(server.value - mask.value, ring)
        return _read(server.value + mask.value, ring)

    def output_at_client(self, index: int = 0) -> torch.Tensor:
        """A result that the client alone has, as signed integers."""
        return _read(self.client[index].value, self.client[index].ring_bits)

    def opened(self) -> list[tuple[str, int, torch.Tensor]]:
        """Label, width and value of what each exchange opened: the sums of both parties' frames."""
        ours, theirs = ([f for f in self.frames if f.sender == rank] for rank in (SERVER, CLIENT))
        assert [(f.label, f.specs) for f in ours] == [(f.label, f.specs) for f in theirs], (
            "not only exchanges"
        )
        return [
            (mine.label, spec.bits, low(a + b, spec.bits))
            for mine, other in zip(ours, theirs, strict=True)
            for spec, a, b in zip(mine.specs, mine.arrays, other.arrays, strict=True)
        ]

    def check_bill(self) -> None:
        """Bytes each way, rounds and correlations are as declared, at both parties; shapes and rings too."""
        for measured in self.bills:
            for name in _COSTS:
                assert getattr(measured, name) == getattr(self.counted, name), name
        written = self.correlations
        sent_ahead = sum(_payload(f.specs) for f in self.offline_frames)
        assert written[SERVER] + written[2] + sent_ahead == self.counted.offline_bytes_to_server
        assert written[CLIENT] == self.counted.offline_bytes_to_client
        for results in (self.server, self.client, self.masks, self.clear):
            assert [_kind(share) for share in results] == [_kind(share) for share in self.shapes]


_COSTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
)


@dataclass(eq=False)
class Seeds:
    """The streams that dealer and parties share, made afresh for each of them."""

    seed: int

    def stream(self, rank: int, use: int) -> InsecureTestRandom:
        return InsecureTestRandom(64 * self.seed + 2 * use + rank)

    def pair(self, use: int) -> tuple[Randomness, Randomness]:
        return self.stream(SERVER, use), self.stream(CLIENT, use)


GATES, LINEAR, INPUTS = range(3)


def run(
    program: Program,
    secrets: Sequence[Secret],
    *,
    weights: Sequence[Weight] = (),
    seed: int = 0,
    exact_truncation: bool = False,
) -> Run:
    """Deals, prepares and runs a program, runs it in the clear, counts it; all correlations must be used
    up."""
    seeds, correlations = Seeds(seed), Correlations()
    inputs = [_Input(secret, seeds.pair(INPUTS + i)) for i, secret in enumerate(secrets)]
    masks = _deal(program, inputs, seeds, correlations, weights, exact_truncation)
    prepared = _prepare(program, inputs, seeds, correlations, exact_truncation)
    online = _run_parties(program, inputs, seeds, correlations, prepared, exact_truncation)
    counting = Counting(Meter(timed=False), exact_truncation=exact_truncation)
    shapes = program(counting, *(entry.seen_by_nobody() for entry in inputs))
    for rank in (SERVER, CLIENT):
        assert not prepared[rank].party.prepared, "the online run left prepared values"
    bills = (prepared[SERVER].bill(), prepared[CLIENT].bill())
    for bill, party in zip(bills, online, strict=True):
        bill.add(party.bill())
    return Run(
        masks,
        online[SERVER].results,
        online[CLIENT].results,
        clear(program, secrets, exact_truncation=exact_truncation),
        shapes,
        bills,
        counting.meter.bill().total,
        correlations.sizes,
        cast(Watched, online[CLIENT].party).low_bits,
        [*online[SERVER].frames, *online[CLIENT].frames],
        [*prepared[SERVER].frames, *prepared[CLIENT].frames],
    )


def clear(
    program: Program,
    secrets: Sequence[Secret],
    *,
    exact_truncation: bool = False,
    rounding_seed: int | None = None,
) -> Shares:
    """The program in the clear: truncation rounds down, or at random where a seed is given."""
    randomness = None if rounding_seed is None else InsecureTestRandom(rounding_seed)
    executor = Clear(Meter(), exact_truncation=exact_truncation, randomness=randomness)
    return program(executor, *(Share(s.value, s.frac_bits, s.ring_bits, s.held) for s in secrets))


class _Input:
    """An input as each executor has it."""

    def __init__(self, secret: Secret, streams: tuple[Randomness, Randomness]) -> None:
        self._secret = secret
        summands = [to_tensor(stream.ring(_shape(secret), secret.ring_bits)) for stream in streams]
        drawn = low(summands[0] + summands[1], secret.ring_bits)
        self.mask = drawn if secret.mask is None else secret.mask

    def _share(self, value: torch.Tensor) -> Share:
        return Share(value, self._secret.frac_bits, self._secret.ring_bits, self._secret.held)

    def seen_by_nobody(self) -> Share:
        return self._share(no_data(_shape(self._secret)))

    def at_dealer(self) -> Share:
        return self.seen_by_nobody() if self._secret.held is Held.ADDITIVE else self._share(self.mask)

    def in_preparation(self, rank: int) -> Share:
        if self._secret.held is Held.SERVER_HELD and rank == CLIENT:
            return self._share(self.mask)
        return self.seen_by_nobody()

    def at_party(self, rank: int) -> Share:
        held, x = self._secret.held, self._secret.value
        if rank == CLIENT and held in (Held.SERVER_MASKED, Held.SERVER_HELD):
            return self.seen_by_nobody()
        if held is Held.ADDITIVE:
            return self._share(self.mask if rank == CLIENT else x - self.mask)
        masked = x - self.mask if held is Held.SERVER_HELD else x + self.mask
        return self._share(low(masked, self._secret.ring_bits))


def _deal(
    program: Program,
    inputs: Sequence[_Input],
    seeds: Seeds,
    correlations: Correlations,
    weights: Sequence[Weight],
    exact_truncation: bool,
) -> Shares:
    masks = {weight.name: weight.mask for weight in weights}

    def weight_mask(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        assert tuple(masks[name].shape) == shape
        return masks[name]

    dealing = Dealing(
        Meter(),
        writers=(correlations.writer(SERVER), correlations.writer(CLIENT)),
        linear=correlations.writer(2),
        streams=seeds.pair(GATES),
        linear_streams=seeds.pair(LINEAR),
        hash=HASH,
        products=Products(lambda weight: weight_mask(weight.name, weight.shape)),
        exact_truncation=exact_truncation,
    )
    return program(dealing, *(entry.at_dealer() for entry in inputs))


@dataclass(eq=False)
class _Done:
    """One party's phase."""

    party: Preparation | Party
    results: Shares
    frames: list[SentFrame] = field(default_factory=list[SentFrame])

    def bill(self) -> BillRow:
        return self.party.meter.bill().total


def _prepare(
    program: Program,
    inputs: Sequence[_Input],
    seeds: Seeds,
    correlations: Correlations,
    exact_truncation: bool,
) -> tuple[_Done, _Done]:
    def phase(link: Link, rank: int) -> _Done:
        reader = correlations.reader(2) if rank == SERVER else Reader(io.BytesIO(), 0)
        party = Preparation(link, reader, seeds.stream(rank, LINEAR), exact_truncation=exact_truncation)
        with link.meter.phase(Phase.OFFLINE):
            results = program(party, *(entry.in_preparation(rank) for entry in inputs))
        assert reader.left_bytes == 0, f"{reader.left_bytes} bytes of linear correlations are left"
        return _Done(party, results)

    return _both(phase)


def _run_parties(
    program: Program,
    inputs: Sequence[_Input],
    seeds: Seeds,
    correlations: Correlations,
    prepared: tuple[_Done, _Done],
    exact_truncation: bool,
) -> tuple[_Done, _Done]:
    def phase(link: Link, rank: int) -> _Done:
        reader = correlations.reader(rank)
        ahead = cast(Preparation, prepared[rank].party).prepared
        party = Watched(
            link, reader, seeds.stream(rank, GATES), HASH, ahead, exact_truncation=exact_truncation
        )
        results = program(party, *(entry.at_party(rank) for entry in inputs))
        assert reader.left_bytes == 0, f"{reader.left_bytes} bytes of correlations are left"
        return _Done(party, results)

    return _both(phase)


def _both(phase: Callable[[Link, int], _Done]) -> tuple[_Done, _Done]:
    """Runs a phase at both parties, and keeps the frames."""
    server, client = local_pair()
    traces = (Trace(server, keep_cache=True), Trace(client, keep_cache=True))
    done = run_two_threads(
        lambda link: phase(link, SERVER), lambda link: phase(link, CLIENT), channels=traces
    )
    for rank in (SERVER, CLIENT):
        for message in traces[rank].sent:
            frame = decode(message)
            pairs = zip(frame.payload, frame.specs, strict=True)
            arrays = tuple(to_tensor(unpack(buffer, spec)) for buffer, spec in pairs)
            done[rank].frames.append(SentFrame(rank, frame.label, frame.specs, arrays))
    return done


def _shape(secret: Secret) -> tuple[int, ...]:
    return tuple(secret.value.shape)


def _values(share: Share) -> torch.Tensor:
    """A summand; zeros where a party has none."""
    return torch.zeros(share.shape, dtype=torch.int64) if share.value.is_meta else share.value


def _read(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Residues as the reference has them: bits from 0, other rings signed."""
    return low(value, 1) if bits == 1 else signed(value, bits)


def _payload(specs: Sequence[Spec]) -> int:
    return sum((math.prod(spec.shape) * spec.bits + 7) // 8 for spec in specs)


def _kind(share: Share) -> tuple[object, ...]:
    return share.shape, share.frac_bits, share.ring_bits, share.held, share.drop
