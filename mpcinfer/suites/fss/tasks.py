"""One operation, or blocks with random weights, under the suite `fss`: a dealer that ends, then both parties.

The dealer writes correlations to a folder, as `mpcinfer deal` does. All seeds come from the task's place, so
nothing is secret: this is for benchmarks.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.backends.parts import needed_by_blocks
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.folded import folded_config
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.ready import warm_up
from mpcinfer.suites.fss.samples import INPUT, SAMPLES, Inputs, ModelFormats, Sample, formats_of
from mpcinfer.suites.fss.weights import Sharing, encoded, receive_setup, send_setup
from mpcinfer.suites.task import Place, Task, TaskResult, blocks_in_float, random_weights, residual
from parties.bill import Bill
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import AesCtrStream
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import shape_only
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.gates.linear import RevealToClient, ToServerHeld
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.gates.polynomial import Product
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Matrix, Products
from protocols.fss.preprocessing.seeds import drawn_masks, weight_streams
from protocols.kernels.aes import Hash
from protocols.share import Held, Share

_NAMES = ("server", "client", "linear")
_OUTPUT = "output"


@dataclass(frozen=True)
class FssTask:
    """A task with what follows from it."""

    task: Task

    @cached_property
    def formats(self) -> ModelFormats:
        """Those of the profile that is assumed for shapes without weights."""
        return formats_of(folded_config(self.task.config), self.task.tokens, self.task.plan)

    @property
    def exact(self) -> bool:
        """Whether truncations are."""
        return is_faithful(self.task.plan)

    @property
    def sample(self) -> Sample:
        """Of the operation."""
        return SAMPLES[self.task.operation]

    @cached_property
    def matrices(self) -> dict[str, Matrix]:
        """Names, shapes and rings of the weights that are read."""
        config = self.formats.config
        only = self.sample.weights if self.task.operation else tuple(needed_by_blocks(config))
        return self.formats.matrices(only) if only else {}

    def own_weights(self) -> tuple[dict[str, Matrix], dict[str, torch.Tensor]]:
        """The server's matrices, and all weights in float, folded."""
        if not self.matrices:
            return {}, {}
        config, weights = fold(self.task.config, random_weights(self.task.config))
        fixed = encoded(config, self.formats.widths, weights, sharing=Sharing.of(self.formats.suite))
        return {name: fixed[name] for name in self.matrices}, weights

    def run(self, executor: Executor, inputs: Inputs) -> Share:
        """The task, and its output to the client."""
        with torch.no_grad():
            if self.task.operation:
                result, _, _ = self.sample.run(executor, self.formats, inputs)
            else:
                result = self._blocks(executor, inputs)
            with executor.meter.span(_OUTPUT, _OUTPUT):
                return _revealed(executor, result)

    def _blocks(self, executor: Executor, inputs: Inputs) -> Share:
        config, widths = self.formats.config, self.formats.widths
        shape, p = (1, self.task.tokens, config.width), widths.precision
        bits = widths.residual_bits if config.row_norms else widths.held_bits
        x = shape_only(shape, p.residual, bits)
        if inputs.rank is not None:
            value = torch.zeros(shape, dtype=torch.int64)
            if inputs.rank == CLIENT:
                value = (self.input().double() * 2.0**p.residual).round().to(torch.int64)
            x = Share(value, p.residual, bits)
        with executor.meter.span(INPUT, INPUT):
            x = executor.one(Open() if config.row_norms else ToServerHeld(), x)
        weights = inputs.weights or self.matrices
        return Decoder(FssBackend(executor, config, widths, self.formats.suite), config, weights).blocks(x)

    def input(self) -> torch.Tensor:
        """Rows without a mean where layer norms read them, as the embedding leaves them."""
        x = residual(self.task.config, self.task.tokens)
        return _centred(x) if self._centred else x

    def expected(self, inputs: Inputs) -> torch.Tensor:
        """The result in float64."""
        if not self.task.operation:
            y = blocks_in_float(self.task.config, self.input())
            return _centred(y) if self._centred and self.task.config.norm_order == "pre" else y
        if self.sample.weights:
            (name,) = self.sample.weights
            _, folded = fold(self.task.config, random_weights(self.task.config))
            return self.sample.expected(self.formats, folded[name])
        return self.sample.expected(self.formats, inputs.drawn[0])

    @property
    def _centred(self) -> bool:
        return self.task.config.row_norms and self.task.config.norm == "layernorm"


def _centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(-1, keepdim=True)


def _revealed(executor: Executor, x: Share) -> Share:
    """A value of any form to the client."""
    if x.held is Held.SERVER_MASKED:
        x = executor.one(OpenToClient(), x)
    if x.held is Held.MASKED:
        x = executor.one(Product(x.ring_bits), x if x.drop is not None else executor.view(x))
    if x.held is Held.ADDITIVE:
        x = executor.one(ToServerHeld(), x)
    return executor.one(RevealToClient(), x)


# -- who runs it ---------------------------------------------------------------------------------------------


def count_task(task: Task) -> Bill:
    """The counted rows of a task."""
    executor = Counting(Meter(timed=False), exact_truncation=is_faithful(task.plan))
    FssTask(task).run(executor, Inputs())
    return task.measured(executor.meter.bill())


def deal_task(task: Task, place: Place) -> float:
    """Writes the correlations into the place's folder; seconds."""
    this = FssTask(task)
    _load_kernels(task)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((place.folder / name).open("wb")) for name in _NAMES]
        meter = Meter()
        dealing = Dealing(
            meter,
            writers=(_writer(files[0]), _writer(files[1])),
            linear=_writer(files[2]),
            streams=(_stream(place, "gates", SERVER), _stream(place, "gates", CLIENT)),
            linear_streams=(_stream(place, "linear", SERVER), _stream(place, "linear", CLIENT)),
            hash=Hash(_key(place, "hash")),
            products=Products(drawn_masks(weight_streams(_key(place, "weights")))),
            exact_truncation=this.exact,
        )
        this.run(dealing, Inputs(weights=this.matrices))
    return sum(row.seconds or 0.0 for row in task.measured(meter.bill()).rows)


def run_task(link: Link, task: Task, place: Place) -> TaskResult:
    """A party's setup, offline step and online run."""
    assert link.rank is not None
    this = FssTask(task)
    _load_kernels(task)
    link.session = _key(place, "session")
    weights = _setup(this, link, place)
    with _opened(place, link.rank) as (linear, gates):
        stream = _stream(place, "linear", link.rank)
        preparation = Preparation(link, linear, stream, exact_truncation=this.exact)
        with link.meter.phase(Phase.OFFLINE):
            this.run(preparation, Inputs(weights=weights))
        with link.meter.phase(Phase.CONTROL):
            link.exchange([np.zeros(1, np.uint8)], 8, "ready")
        if not task.operation:  # rounds of blocks are counted after their input, not after the setup
            with link.meter.span(INPUT, INPUT):
                link.exchange([np.zeros(1, np.uint8)], 8, "input")
        party = Party(
            link,
            gates,
            _stream(place, "gates", link.rank),
            Hash(_key(place, "hash")),
            preparation.prepared,
            exact_truncation=this.exact,
        )
        inputs = Inputs(rank=link.rank, weights=weights)
        y = this.run(party, inputs)
        assert not gates.left_bytes
    if link.rank == SERVER:
        return TaskResult(bill=link.meter.bill())
    return TaskResult(bill=link.meter.bill(), output=_decoded(y), expected=this.expected(inputs))


def _setup(this: FssTask, link: Link, place: Place) -> Mapping[str, Matrix]:
    """Only the server makes the weights; the client gets them masked."""
    if link.rank == CLIENT:
        return receive_setup(link, this.matrices)
    own, _ = this.own_weights()
    send_setup(link, own, weight_streams(_key(place, "weights")))
    return own


def _load_kernels(task: Task) -> None:
    """As parties and dealer do before they meet."""
    warm_up(task.plan, task.config, {})


def _decoded(x: Share) -> torch.Tensor:
    unused = 64 - x.ring_bits
    return ((x.value << unused) >> unused).double() / 2.0**x.frac_bits


def _key(place: Place, purpose: str) -> bytes:
    return hashlib.sha256(place.seed + purpose.encode()).digest()[:16]


def _stream(place: Place, purpose: str, rank: int) -> AesCtrStream:
    return AesCtrStream(_key(place, f"{purpose} {rank}"))


def _writer(file: IO[bytes]) -> Writer:
    def write(data: NDArray[np.uint8]) -> None:
        file.write(data.data)

    return write


@contextlib.contextmanager
def _opened(place: Place, rank: int) -> Generator[tuple[Reader, Reader]]:
    """What was dealt for linear layers, the server's alone, and for gates."""
    linear, gates = place.folder / "linear", place.folder / _NAMES[rank]
    with contextlib.ExitStack() as stack:
        for_linear: Any = io.BytesIO()
        if rank == SERVER:
            for_linear = stack.enter_context(linear.open("rb", buffering=0))
        for_gates: Any = stack.enter_context(gates.open("rb", buffering=0))
        size = linear.stat().st_size if rank == SERVER else 0
        yield Reader(for_linear, size), Reader(for_gates, gates.stat().st_size)
