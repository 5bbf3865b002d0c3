"""mpcinfer under the plan `fss`: the dealer writes to a folder and ends, then both parties run."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.peers.drive import Measured, PeerFailed
from bench.peers.fss_programs import Program
from bench.peers.inside.sockets import between, received
from bench.peers.network import free_port, linked, meet
from bench.peers.tasks import TASKS, Task
from bench.stack_parties import peak_bytes, warm_up
from mpcinfer.benchmark.network import Network
from mpcinfer.suites.fss.weights import receive_setup, send_setup
from parties.bill import Bill
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import AesCtrStream
from parties.tcp import Listener, connect
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.matrix import Matrix, Products
from protocols.fss.preprocessing.seeds import drawn_masks, weight_streams
from protocols.fss.ring import signed
from protocols.kernels.aes import Hash
from protocols.share import Held, Share

_TIMEOUT_S = 300.0
_FILES = ("server", "client", "linear")


@dataclasses.dataclass(frozen=True)
class Job:
    """A repetition, as all three processes know it.

    Attributes:
        listen: the server's port; reach: the one at which the client reaches it.
    """

    task: str
    folder: Path
    keys: tuple[KeyPair, KeyPair]
    listen: int
    reach: int

    @property
    def program(self) -> Program:
        return Program(TASKS[self.task])

    def seed(self, purpose: int) -> bytes:
        """Sixteen bytes a purpose; a real session's come from the dealer, at random."""
        return purpose.to_bytes(16, "little")


def _dealer(job: Job, results: Any) -> None:
    """Deals to files; reports seconds, peak memory and the masks of the result."""
    warm_up("fss")
    program = job.program
    files = [open(job.folder / name, "wb") for name in _FILES]  # noqa: SIM115
    writers = [lambda data, file=file: file.write(data.data) for file in files]
    dealing = Dealing(
        Meter(),
        writers=(writers[0], writers[1]),
        linear=writers[2],
        streams=(AesCtrStream(job.seed(1)), AesCtrStream(job.seed(2))),
        linear_streams=(AesCtrStream(job.seed(3)), AesCtrStream(job.seed(4))),
        hash=Hash(job.seed(5)),
        products=Products(drawn_masks(weight_streams(job.seed(9)))),
        exact_truncation=False,
    )
    started = time.perf_counter()
    masks = program.run(dealing, program.specs, program.input(None))
    for file in files:
        file.close()
    seconds = time.perf_counter() - started
    value = _numbers(masks)
    results.put(("dealer", {"seconds": seconds, "memory": peak_bytes(), "value": value}))


def _party(rank: int, job: Job, results: Any) -> None:
    """Setup, offline step and online run."""
    warm_up("fss")
    own, peer = job.keys[rank], job.keys[1 - rank].public
    if rank == SERVER:
        endpoint = f"tcp://127.0.0.1:{job.listen}"
        channel = Listener(endpoint, own, [peer]).accept(_TIMEOUT_S, _TIMEOUT_S)
    else:
        endpoint = f"tcp://127.0.0.1:{job.reach}"
        channel = connect(endpoint, own, peer, connect_timeout_s=_TIMEOUT_S, recv_timeout_s=_TIMEOUT_S)
    with Link(channel, Meter(), rank) as link:
        link.session = job.seed(6)
        results.put((rank, _measured(job, link, _weights(job, link))))


def _weights(job: Job, link: Link) -> dict[str, Matrix]:
    """Only the server has the weights; the client gets them masked."""
    program = job.program
    if link.rank == CLIENT:
        return receive_setup(link, program.specs)
    own = program.weights()
    send_setup(link, own, weight_streams(job.seed(9)))
    return own


def _measured(job: Job, link: Link, weights: dict[str, Matrix]) -> dict[str, Any]:
    program, rank = job.program, link.rank
    assert rank is not None
    preparation, offline_s = _prepared(job, link, weights)
    data = torch.from_numpy(program.task.inputs.x)
    x = program.input(_as_shared(program, data) if rank == CLIENT else torch.zeros_like(data))
    ports, own = {job.listen, job.reach}, job.folder / _FILES[rank]
    with own.open("rb", buffering=0) as file:
        correlations = Reader(file, own.stat().st_size)
        stream, hash_ = AesCtrStream(job.seed(1 + rank)), Hash(job.seed(5))
        party = Party(link, correlations, stream, hash_, preparation.prepared, exact_truncation=False)
        meet(link)
        before = received(only=ports)
        meet(link)
        started = time.perf_counter()
        y = program.run(party, weights, x)
        seconds = time.perf_counter() - started
        meet(link)
        counted = between(before, received(only=ports))
        meet(link)
        assert correlations.left_bytes == 0
    return {
        "bill": link.meter.bill().to_json(),
        "offline_s": offline_s,
        "seconds": seconds,
        "received": counted,
        "memory": peak_bytes(),
        "value": _numbers(y),
        "format": (y.frac_bits, y.ring_bits, y.held.value),
    }


def _as_shared(program: Program, x: torch.Tensor) -> torch.Tensor:
    """Rows without a mean where a block has layer norms, as the embedding leaves them in cleartext."""
    centred = program.task.name == "block"
    return x - x.mean(-1, keepdim=True) if centred else x


def _prepared(job: Job, link: Link, weights: dict[str, Matrix]) -> tuple[Preparation, float]:
    """The step of both parties before the input is there."""
    program, rank, linear = job.program, link.rank, job.folder / "linear"
    assert rank is not None
    with linear.open("rb", buffering=0) if rank == SERVER else io.BytesIO() as file:
        size = linear.stat().st_size if rank == SERVER else 0
        stream = AesCtrStream(job.seed(3 + rank))
        preparation = Preparation(link, Reader(file, size), stream, exact_truncation=False)
        started = time.perf_counter()
        with link.meter.phase(Phase.OFFLINE):
            program.run(preparation, weights, program.input(None))
        return preparation, time.perf_counter() - started


def _numbers(x: Share) -> Any:
    """What a process has of a share; None where it has nothing."""
    return None if x.value.is_meta else x.value.numpy()


def measure(task: Task, network: Network, repeat: int) -> Measured:
    """Every repetition in processes of its own, correlations dealt anew.

    Raises:
        PeerFailed: a process ended with an error; it has said which.
    """
    runs = [_repetition(task, network) for _ in range(repeat)]
    first = runs[0]
    server, client = first[SERVER], first[CLIENT]
    total = _of_the_case(Bill.from_json(client["bill"]), task).total
    dealt = first["dealer"]["bytes"]
    return Measured(
        seconds=[max(run[SERVER]["seconds"], run[CLIENT]["seconds"]) for run in runs],
        to_server=server["received"],
        to_client=client["received"],
        rounds=total.rounds,
        output=_opened(task, first).numpy(),
        offline_to_server=total.offline_bytes_to_server + dealt["server"] + dealt["linear"],
        offline_to_client=total.offline_bytes_to_client + dealt["client"],
        offline_seconds=[max(run[SERVER]["offline_s"], run[CLIENT]["offline_s"]) for run in runs],
        dealer_seconds=[run["dealer"]["seconds"] for run in runs],
        memory={
            "server": server["memory"],
            "client": client["memory"],
            "dealer": first["dealer"]["memory"],
        },
    )


def _of_the_case(bill: Bill, task: Task) -> Bill:
    """Without setup, and without the messages that only tell when both are ready."""
    return Bill(rows=[row for row in bill.rows if row.label.split(".")[0] == task.name])


def _repetition(task: Task, network: Network) -> dict[Any, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as folder, linked(network) as through:
        listen = free_port()
        keys = (KeyPair.generate(), KeyPair.generate())
        job = Job(task.name, Path(folder), keys, listen, through(listen))
        dealer = context.Process(target=_dealer, args=(job, results))
        outcomes = _outcomes([dealer], results)
        parties = [context.Process(target=_party, args=(rank, job, results)) for rank in (SERVER, CLIENT)]
        outcomes |= _outcomes(parties, results)
        outcomes["dealer"]["bytes"] = {name: (job.folder / name).stat().st_size for name in _FILES}
        return outcomes


def _outcomes(processes: list[Any], results: Any) -> dict[Any, Any]:
    for process in processes:
        process.start()
    outcomes: dict[Any, Any] = {}
    deadline = time.monotonic() + _TIMEOUT_S
    try:
        while len(outcomes) < len(processes):
            if any(process.exitcode for process in processes) or time.monotonic() > deadline:
                raise PeerFailed("a process of mpcinfer ended early or took too long")
            while not results.empty():
                role, outcome = results.get()
                outcomes[role] = outcome
            time.sleep(0.01)
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.terminate()
                process.join()
    return outcomes


def _opened(task: Task, run: dict[Any, Any]) -> torch.Tensor:
    """The result, from what the three know of it; parties never put it together like that."""
    parts = (run[who]["value"] for who in (SERVER, CLIENT, "dealer"))
    server, client, masks = (None if part is None else torch.from_numpy(part) for part in parts)
    frac_bits, ring_bits, held = run[CLIENT]["format"]
    first, second = {
        Held.ADDITIVE.value: (server, client),
        Held.SERVER_HELD.value: (server, masks),
        Held.MASKED.value: (server, None if masks is None else -masks),
    }[held]
    assert first is not None
    assert second is not None
    share = Share(signed(first + second, ring_bits), frac_bits, ring_bits, Held.ADDITIVE)
    return Program(task).decoded(share)
