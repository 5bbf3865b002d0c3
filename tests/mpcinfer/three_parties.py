"""Server, client and dealer as three threads of one process, for tests of whole models."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tokenizers
import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.roles.exchange import StepClient, serve_steps
from mpcinfer.roles.party import PrivateSession
from mpcinfer.tokenizer import Tokenizer
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import PeerClosed
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from protocols.crypten.engine import CrypTenArithmetic, crypten_engine
from protocols.dealer import serve_dealer
from protocols.plan import Plan

T = TypeVar("T")
TIMEOUT_S = 60.0


def _key(purpose: str) -> bytes:
    """Sixteen bytes both parties have; in a test, a function of the purpose alone."""
    return purpose.encode().ljust(16, b".")[-16:]


@dataclass
class Outcome:
    """What each party's function returned, and the links they ran over."""

    server: object
    client: object
    meters: tuple[Meter, Meter]


def run_engines(
    plan: Plan,
    server: Callable[[CrypTenArithmetic], object],
    client: Callable[[CrypTenArithmetic], object],
    wrap: Callable[[Channel, int], Channel] = lambda channel, rank: channel,
) -> Outcome:
    """Runs one function a party on connected engines, with a dealer, all in threads.

    The first error of a party is raised here, after all threads have ended; PeerClosed, which is what the
    other party gets then, is raised only if nobody had another.
    """
    ends = local_pair(TIMEOUT_S)
    to_dealer = [local_pair(TIMEOUT_S) for _ in (SERVER, CLIENT)]
    meters = (Meter(), Meter())
    results: dict[int, object] = {}
    errors: list[BaseException] = []

    def party(rank: int, function: Callable[[CrypTenArithmetic], object]) -> None:
        channel = wrap(ends[rank], rank)
        try:
            with (
                Link(channel, meters[rank], rank) as link,
                Link(to_dealer[rank][0], Meter(), None) as dealer,
                crypten_engine(link, dealer, plan, _key) as engine,
            ):
                results[rank] = function(engine)
        except BaseException as error:
            errors.append(error)

    def deal() -> None:
        links = [Link(pair[1], Meter(), None) for pair in to_dealer]
        try:
            serve_dealer(*links)
        except PeerClosed:
            pass
        finally:
            for link in links:
                link.close()

    threads = [
        threading.Thread(target=deal),
        threading.Thread(target=party, args=(SERVER, server)),
        threading.Thread(target=party, args=(CLIENT, client)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in sorted(errors, key=lambda each: isinstance(each, PeerClosed)):
        raise error
    return Outcome(results[SERVER], results[CLIENT], meters)


def run_model(
    model: Model,
    plan: Plan,
    use: Callable[[StepClient], T],
    wrap: Callable[[Channel, int], Channel] = lambda channel, rank: channel,
) -> tuple[T, Bill, Bill]:
    """A whole session over `model`; what `use` made of the client, the client's and the server's bill."""
    public = PublicModel.of(model)

    def server(engine: CrypTenArithmetic) -> Bill:
        return serve_steps(engine.session.link, PrivateSession(engine, plan, public, model.weights))

    def client(engine: CrypTenArithmetic) -> tuple[T, Bill]:
        steps = StepClient(engine.session.link, PrivateSession(engine, plan, public, None))
        result, bill = use(steps), steps.finish()
        steps.part()
        return result, bill

    outcome = run_engines(plan, server, client, wrap)
    result, bill = outcome.client  # type: ignore[misc]
    return result, bill, outcome.server  # type: ignore[return-value]


def byte_tokenizer() -> Tokenizer:
    """A tokenizer of 256 tokens, one a byte."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return Tokenizer(backend=backend)


def random_model(config: ModelConfig, seed: int = 1) -> Model:
    """A calibrated model with matrices N(0, 1 / in), gains near 1, and biases and other vectors near 0."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if len(shape) == 2 and not name.startswith("embed."):
            weights[name] = values * shape[0] ** -0.5
        elif "norm" in name and name.endswith(".weight"):
            weights[name] = 1.0 + 0.1 * values
        else:
            weights[name] = values if name == "embed.tokens" else 0.1 * values
    model = Model(name="random", config=config, weights=weights, tokenizer=byte_tokenizer())
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))
