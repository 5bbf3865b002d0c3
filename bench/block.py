"""One GPT-2-size block on shares: server, client and dealer as processes over encrypted loopback TCP.

    python -m bench.block --plan crypten-stock --plan crypten --repeat 3

Weights are random; the output is compared with the float model, the bill with the counted one, and a record
is appended to bench/records/block.jsonl. The client's wall time runs from the shared input to the opened
output; weights are on shares before that (setup).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Generator
from typing import Any

import torch
from rich.console import Console

from bench.records import RECORDS, Record
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.roles.dealer import deal_session
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.additive.session import connected_executor
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.task import random_weights, residual
from parties.bill import Bill
from parties.handshake import Hello, shake_hands
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import SystemRandom
from parties.tcp import Listener, connect
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.registry import resolve

DEFAULT_VARIANT = "SM+LN+G"
"""GPT-2's own."""
GPT2_BLOCK = ModelConfig(
    layers=1, width=768, heads=12, kv_heads=12, head_width=64, hidden=3072, vocabulary=1, context=1024
)
_TIMEOUT_S = 300.0


def described(layers: int, variant: str = DEFAULT_VARIANT) -> str:
    """What a record calls so many blocks of a variant."""
    of = "" if variant == DEFAULT_VARIANT else f" of {variant}"
    return f"gpt2, {layers} block(s){of}, random weights, default profile"


def _run_block(executor: CrypTenArithmetic, plan_name: str, config: ModelConfig, tokens: int) -> Any:
    """One party's run: its bill, its online seconds, and the output at the client."""
    rank, plan, weights = executor.rank, get_plan(plan_name), random_weights(config)
    if plan.fold:
        config, weights = fold(config, weights)
    backend = SecureBackend(executor, resolve(plan), config.vocabulary)
    of_the_block = {name for name in weights if name.startswith("layer")}
    loaded = backend.load(config, weights if rank == SERVER else None, of_the_block)
    value = residual(config, tokens) if rank == CLIENT else None
    x = executor.share_from(CLIENT, value, (1, tokens, config.width))
    started = time.perf_counter()
    y = Decoder(backend, config, loaded).stack(x)
    seconds = time.perf_counter() - started
    bill = executor.meter.bill()
    with executor.meter.span("output", "output"), executor.meter.phase(Phase.ONLINE):
        opened = executor.open_to(CLIENT, y)
    return bill.to_json(), seconds, None if opened is None else opened.numpy()


def _party(rank: int, plan: str, config: ModelConfig, tokens: int, net: dict[str, Any], results: Any) -> None:
    torch.set_num_threads(1)
    keys: KeyPair = net["keys"][rank]
    if rank == SERVER:
        channel = Listener(net["server"], keys, [net["keys"][CLIENT].public]).accept(_TIMEOUT_S, _TIMEOUT_S)
    else:
        channel = connect(
            net["server"],
            keys,
            net["keys"][SERVER].public,
            connect_timeout_s=_TIMEOUT_S,
            recv_timeout_s=_TIMEOUT_S,
        )
    dealer = Address(net["dealer"][rank], net["keys"][2].public)
    with (
        Link(channel, Meter(), rank) as link,
        connected_executor(link, get_plan(plan), config.digest(), keys, dealer, _TIMEOUT_S) as executor,
    ):
        results.put((rank, _run_block(executor, plan, config, tokens)))


def run_dealer(net: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    listeners = [Listener(net["dealer"][rank], net["keys"][2], [net["keys"][rank].public]) for rank in (0, 1)]
    channels = [listener.accept(_TIMEOUT_S, _TIMEOUT_S) for listener in listeners]
    with Link(channels[0], Meter(), None) as server, Link(channels[1], Meter(), None) as client:
        hello = Hello(role="dealer", plan=None, model=None)
        for link, role in ((server, "server"), (client, "client")):
            shake_hands(link, hello, role, SystemRandom())
        deal_session(server, client)


@contextlib.contextmanager
def running(targets: list[tuple[Any, tuple[Any, ...]]]) -> Generator[None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=args) for target, args in targets]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.terminate()
                process.join()


def measure(plan: str, config: ModelConfig, tokens: int, port: int) -> tuple[Bill, float, torch.Tensor]:
    """The client's bill, its online seconds and the block's output."""
    net = {
        "keys": [KeyPair.generate() for _ in range(3)],
        "server": f"tcp://127.0.0.1:{port}",
        "dealer": [f"tcp://127.0.0.1:{port + 1}", f"tcp://127.0.0.1:{port + 2}"],
    }
    results = multiprocessing.get_context("spawn").Queue()
    targets: list[tuple[Any, tuple[Any, ...]]] = [(run_dealer, (net,))]
    targets += [(_party, (rank, plan, config, tokens, net, results)) for rank in (SERVER, CLIENT)]
    with running(targets):
        outcomes = dict(results.get(timeout=2 * _TIMEOUT_S) for _ in (SERVER, CLIENT))
    bill, seconds, output = outcomes[CLIENT]
    return Bill.from_json(bill), seconds, torch.tensor(output)


def run_case(plan: str, tokens: int, repeat: int, port: int, console: Console) -> None:
    """Measures one plan, says how it compares with the count and the float model, keeps a record."""
    config = GPT2_BLOCK
    runs = [measure(plan, config, tokens, port + 10 * i) for i in range(repeat)]
    bill, _, output = runs[0]
    reference = Decoder(PlainBackend(), config, random_weights(config)).stack(residual(config, tokens))
    error = (output - reference).abs()
    counted = count(config, get_plan(plan), tokens=tokens, part="stack").total
    total = bill.total
    same = all(
        getattr(total, name) == getattr(counted, name)
        for name in ("rounds", "online_bytes_to_server", "online_bytes_to_client", "offline_bytes_to_server")
    )
    seconds = [run[1] for run in runs]
    console.print(
        f"{plan}: {total.rounds} rounds, {total.online_bytes_to_server / 1e6:.2f} MB to the server and "
        f"{total.online_bytes_to_client / 1e6:.2f} MB to the client, offline "
        f"{total.offline_bytes_to_server / 1e6:.2f} MB, setup {total.setup_bytes / 1e6:.2f} MB, "
        f"{statistics.median(seconds):.2f} s (median of {repeat}); largest error {float(error.max()):.2g}, "
        f"mean {float(error.mean()):.2g}; {'exactly as counted' if same else 'NOT as counted'}"
    )
    Record(
        case="gpt2-block",
        plan=plan,
        model="gpt2, one block, random weights",
        tokens=tokens,
        measured=True,
        bill=bill.to_json(),
        seconds=seconds,
        error={"max": float(error.max()), "mean": float(error.mean())},
        network="loopback TCP with CURVE, three processes",
    ).append(RECORDS / "block.jsonl")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", action="append", help="plans to measure (default: crypten-stock, crypten)")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--port", type=int, default=7300, help="first of the loopback ports to use")
    options = parser.parse_args()
    for i, plan in enumerate(options.plan or ["crypten-stock", "crypten"]):
        run_case(plan, options.tokens, options.repeat, options.port + 100 * i, Console())


if __name__ == "__main__":
    main()
