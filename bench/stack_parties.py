"""Blocks of GPT-2's size under the FSS suite, as three processes run them: a dealer, then both parties.

The dealer writes its correlations to a folder, as `mpcinfer deal` does, and ends; then server and client,
connected over encrypted loopback TCP, do their offline step and run. For `bench.stack` and `bench.profile`.
"""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.block import GPT2_BLOCK
from bench.timed_party import Step, TimedParty
from mpcinfer.backends.parts import needed
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_ranges_of
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.ready import warm_up as warm_up_kernels
from mpcinfer.suites.fss.weights import encoded, matrices, receive_setup, send_setup
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.task import random_weights, residual
from parties.bill import Bill
from parties.keys import KeyPair
from parties.link import Link
from parties.memory import keep_memory
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import AesCtrStream
from parties.tcp import Listener, connect
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import shape_only
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.gates.opening import Open
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Matrix, Products
from protocols.fss.preprocessing.seeds import drawn_masks, weight_streams
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.ring import signed
from protocols.kernels.aes import Hash
from protocols.meta_tensors import no_data
from protocols.share import Share

_TIMEOUT_S = 300.0
_RANGES = load_ranges_of("tiny-python")
"""Of another GPT-2 form, for the warm-up alone."""
_AT_HAND_BYTES = 384 << 20
"""Memory that a party has used before the block, as one that has run blocks before."""
_NAMES = ("server", "client", "linear")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: a plan, a shape, and seeds that dealer and parties share in this benchmark."""

    plan: str
    config: ModelConfig
    tokens: int
    folder: Path
    keys: tuple[KeyPair, KeyPair]
    endpoint: str
    timed: bool = False

    @property
    def widths(self) -> Widths:
        plan = get_plan(self.plan)
        return Widths(
            folded_config(self.config), None, max_context=self.tokens, exact_truncation=is_faithful(plan)
        )

    def seed(self, purpose: int) -> bytes:
        """Sixteen bytes a purpose; a real session's come from the dealer, at random."""
        return purpose.to_bytes(16, "little")

    def run(self, executor: Executor, weights: dict[str, Matrix], x: Share) -> Share:
        """Opens the input, outside of what is compared, and runs the blocks."""
        folded = folded_config(self.config)
        backend = FssBackend(executor, folded, self.widths, resolve_fss(get_plan(self.plan)))
        with torch.no_grad():
            with executor.meter.span("input", "input"):
                (x,) = executor.apply(Open(), x)
            return Decoder(backend, folded, weights).stack(x)

    def input(self, value: torch.Tensor) -> Share:
        """An additive share of the residual."""
        widths = self.widths
        return Share(value, widths.precision.residual, widths.residual_bits)

    @property
    def specs(self) -> dict[str, Matrix]:
        folded = folded_config(self.config)
        return matrices(folded, self.widths, needed(folded, "stack"))


def centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(-1, keepdim=True)


def _centred_input(case: Case) -> torch.Tensor:
    """Rows without a mean, as the embedding leaves them; layer norms do not see the difference."""
    return centred(residual(case.config, case.tokens))


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def warm_up(plan: str) -> None:
    """Loads the compiled kernels, as parties and dealer do before they meet, and has memory at hand."""
    keep_memory()
    config = dataclasses.replace(GPT2_BLOCK, layers=1)  # of the same size: kernels do not ask for more
    warm_up_kernels(get_plan(plan), config, _RANGES)
    at_hand = [torch.ones(_AT_HAND_BYTES // 48, dtype=torch.uint8) for _ in range(48)]
    del at_hand


def _dealer(case: Case, results: Any) -> None:
    """Deals to files; reports seconds, peak memory and the mask of the output."""
    warm_up(case.plan)
    files = [open(case.folder / name, "wb") for name in _NAMES]  # noqa: SIM115
    writers = [lambda data, file=file: file.write(data.data) for file in files]
    dealing = Dealing(
        Meter(),
        writers=(writers[0], writers[1]),
        linear=writers[2],
        streams=(AesCtrStream(case.seed(1)), AesCtrStream(case.seed(2))),
        linear_streams=(AesCtrStream(case.seed(3)), AesCtrStream(case.seed(4))),
        hash=Hash(case.seed(5)),
        products=Products(drawn_masks(weight_streams(case.seed(9)))),
        exact_truncation=is_faithful(get_plan(case.plan)),
    )
    started = time.perf_counter()
    widths = case.widths
    shape = (1, case.tokens, case.config.width)
    output = case.run(dealing, case.specs, shape_only(shape, widths.precision.residual, widths.residual_bits))
    for file in files:
        file.close()
    results.put(("dealer", time.perf_counter() - started, peak_bytes(), output.value.numpy()))


def _party(rank: int, case: Case, results: Any) -> None:
    """Setup, offline step and online run; reports bill, seconds, peak memory and the masked output."""
    warm_up(case.plan)
    own, peer = case.keys[rank], case.keys[1 - rank].public
    if rank == SERVER:
        channel = Listener(case.endpoint, own, [peer]).accept(_TIMEOUT_S, _TIMEOUT_S)
    else:
        channel = connect(case.endpoint, own, peer, connect_timeout_s=_TIMEOUT_S, recv_timeout_s=_TIMEOUT_S)
    with Link(channel, Meter(), rank) as link:
        link.session = case.seed(6)
        weights = _weights(case, link)
        outcome = _offline_and_online(rank, case, link, weights)
    results.put((rank, *outcome))


def _weights(case: Case, link: Link) -> dict[str, Matrix]:
    """Only the server makes the weights; the client gets them masked."""
    specs = case.specs
    if link.rank == CLIENT:
        return receive_setup(link, specs)
    config, weights = fold(case.config, random_weights(case.config))
    own = {name: matrix for name, matrix in encoded(config, case.widths, weights).items() if name in specs}
    send_setup(link, own, weight_streams(case.seed(9)))
    return own


def _offline_and_online(rank: int, case: Case, link: Link, weights: dict[str, Matrix]) -> tuple[Any, ...]:
    linear, own = case.folder / "linear", case.folder / _NAMES[rank]
    shape = (1, case.tokens, case.config.width)
    exact_truncation = is_faithful(get_plan(case.plan))
    with linear.open("rb", buffering=0) if rank == SERVER else io.BytesIO() as file:
        size = linear.stat().st_size if rank == SERVER else 0
        preparation = Preparation(
            link, Reader(file, size), AesCtrStream(case.seed(3 + rank)), exact_truncation=exact_truncation
        )
        started = time.perf_counter()
        with link.meter.phase(Phase.OFFLINE):
            case.run(preparation, weights, case.input(no_data(shape)))
        offline_s = time.perf_counter() - started
    value = torch.zeros(shape, dtype=torch.int64)
    if rank == CLIENT:
        value = (_centred_input(case) * 2.0**case.widths.precision.residual).round().long()
    with own.open("rb", buffering=0) as file:
        correlations = Reader(file, own.stat().st_size)
        stream, hash_ = AesCtrStream(case.seed(1 + rank)), Hash(case.seed(5))
        kind = TimedParty if case.timed else Party
        party = kind(
            link, correlations, stream, hash_, preparation.prepared, exact_truncation=exact_truncation
        )
        link.exchange([torch.zeros(1, dtype=torch.uint8).numpy()], 8, "ready")
        started = time.perf_counter()
        y = case.run(party, weights, case.input(value))
        online_s = time.perf_counter() - started
        assert correlations.left_bytes == 0
    steps = party.steps if isinstance(party, TimedParty) else []
    return link.meter.bill().to_json(), offline_s, online_s, peak_bytes(), y.value.numpy(), steps


@dataclasses.dataclass(frozen=True)
class Measured:
    """One repetition."""

    bill: Bill
    dealer_s: float
    offline_s: float
    online_s: float
    peak_bytes: dict[str, int]
    output: torch.Tensor
    steps: tuple[list[Step], list[Step]]
    """The server's and the client's, where they are timed."""


def measure_stack(plan: str, config: ModelConfig, tokens: int, port: int, *, timed: bool = False) -> Measured:
    """Deals, then runs both parties; notes how long each gate took where `timed`."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as folder:
        keys = (KeyPair.generate(), KeyPair.generate())
        case = Case(plan, config, tokens, Path(folder), keys, f"tcp://127.0.0.1:{port}", timed)
        dealer = context.Process(target=_dealer, args=(case, results))
        dealer.start()
        _, dealer_s, dealer_peak, mask = results.get(timeout=_TIMEOUT_S)
        dealer.join()
        parties = [context.Process(target=_party, args=(rank, case, results)) for rank in (SERVER, CLIENT)]
        for party in parties:
            party.start()
        outcomes = {got[0]: got[1:] for got in (results.get(timeout=_TIMEOUT_S) for _ in parties)}
        for party in parties:
            party.join()
    bill, offline_s, online_s, _, masked, _ = outcomes[CLIENT]
    widths = case.widths
    y = signed(torch.tensor(masked) - torch.tensor(mask), widths.residual_bits)
    return Measured(
        bill=Bill.from_json(bill),
        dealer_s=dealer_s,
        offline_s=offline_s,
        online_s=online_s,
        peak_bytes={
            "dealer": dealer_peak,
            "server": outcomes[SERVER][3],
            "client": outcomes[CLIENT][3],
        },
        output=y.double() / 2.0**widths.precision.residual,
        steps=(outcomes[SERVER][5], outcomes[CLIENT][5]),
    )
