"""Server, client and dealer as three threads of one process, for tests of whole models."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import tokenizers
import torch

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import PrefixRun, run_prefix
from mpcinfer.models.public import PublicModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.suites.additive.session import CrypTenPrivateSession
from mpcinfer.suites.fss.connect import checked_weights, fss_over
from mpcinfer.suites.fss.dealing import serve_fss
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.two_party.session import TwoPartySession
from mpcinfer.tokenizer import Tokenizer
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import PeerClosed
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from protocols.additive.crypten.executor import CrypTenArithmetic, crypten_executor
from protocols.additive.dealer import serve_dealer
from protocols.fss.preprocessing.source import DealerSource
from protocols.plan import Plan

T = TypeVar("T")


def _key(purpose: str) -> bytes:
    """Sixteen bytes both parties have; in a test, a function of the purpose alone."""
    return purpose.encode().ljust(16, b".")[-16:]


@dataclass
class Outcome:
    """What each party's function returned, and the links they ran over."""

    server: object
    client: object
    meters: tuple[Meter, Meter]


Party = Callable[[Link, Link], object]
"""Given the link to the other party and the link to the dealer."""
Wrap = Callable[[Channel, int], Channel]


def as_it_is(channel: Channel, rank: int) -> Channel:
    """No wrapping."""
    return channel


def run_three(
    deal: Callable[[Link, Link], object], server: Party, client: Party, wrap: Wrap = as_it_is
) -> Outcome:
    """Runs one function a party, and a dealer, all in threads.

    The first error of a party is raised here, after all threads have ended; PeerClosed, which is what the
    other party gets then, is raised only if nobody had another.
    """
    ends = local_pair()
    to_dealer = [local_pair() for _ in (SERVER, CLIENT)]
    meters = (Meter(), Meter())
    results: dict[int, object] = {}
    errors: list[BaseException] = []

    def party(rank: int, function: Party) -> None:
        channel = wrap(ends[rank], rank)
        try:
            with (
                Link(channel, meters[rank], rank) as link,
                Link(to_dealer[rank][0], Meter(), None) as dealer,
            ):
                results[rank] = function(link, dealer)
        except BaseException as error:
            errors.append(error)

    def dealer() -> None:
        links = [Link(pair[1], Meter(), None) for pair in to_dealer]
        try:
            deal(*links)
        except PeerClosed:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            for link in links:
                link.close()

    threads = [
        threading.Thread(target=dealer),
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


def run_executors(
    plan: Plan,
    server: Callable[[CrypTenArithmetic], object],
    client: Callable[[CrypTenArithmetic], object],
    wrap: Wrap = as_it_is,
) -> Outcome:
    """`run_three` with one function a party on connected CrypTen executors."""

    def on_executor(function: Callable[[CrypTenArithmetic], object]) -> Party:
        def party(link: Link, dealer: Link) -> object:
            with crypten_executor(link, dealer, plan, _key) as executor:
                return function(executor)

        return party

    return run_three(serve_dealer, on_executor(server), on_executor(client), wrap)


Open = Callable[[Link, Link, dict[str, torch.Tensor] | None], AbstractContextManager[PrivateSession]]
"""A party's session, given its two links, and the weights at the server."""


def _crypten(
    plan: Plan, public: PublicModel, batch: Batch, run: PrefixRun | None = None
) -> tuple[Callable[[Link, Link], object], Open]:
    @contextmanager
    def open_session(
        link: Link, dealer: Link, weights: dict[str, torch.Tensor] | None
    ) -> Generator[PrivateSession]:
        with crypten_executor(link, dealer, plan, _key) as executor:
            tokens, own = (0 if run is None else run.tokens), (None if weights is None else run)
            yield CrypTenPrivateSession(executor, plan, public, weights, batch, tokens, own)

    return serve_dealer, open_session


def _fss(
    plan: Plan,
    public: PublicModel,
    max_context: int | None,
    check_ranges: bool,
    batch: Batch,
    run: PrefixRun | None = None,
    prefix: tuple[PrefixPart, PrefixPart] | None = None,
) -> tuple[Callable[[Link, Link], object], Open]:
    program = Program.of(
        plan,
        public.config,
        public.ranges,
        max_context,
        check_ranges=check_ranges,
        batch=batch,
        public_prefix=0 if run is None else run.tokens,
        prefix=None if prefix is None else prefix[0].features,
    )

    given = None if run is None else lambda: run

    def deal(server: Link, client: Link) -> object:
        return serve_fss(server, client, Program.from_document(program.to_document()))

    @contextmanager
    def open_session(
        link: Link, dealer: Link, weights: dict[str, torch.Tensor] | None
    ) -> Generator[PrivateSession]:
        assert link.rank is not None
        own = None if weights is None else checked_weights(program, public.name, weights, given)
        with (
            closing(DealerSource(link.rank, dealer)) as source,
            closing(fss_over(link, program, own, source, prefix=prefix and prefix[link.rank])) as session,
        ):
            yield session

    return deal, open_session


def _two_party(plan: Plan, public: PublicModel, batch: Batch) -> tuple[Callable[[Link, Link], object], Open]:
    @contextmanager
    def open_session(
        link: Link, dealer: Link, weights: dict[str, torch.Tensor] | None
    ) -> Generator[PrivateSession]:
        yield TwoPartySession(link, plan, public, weights, batch)

    def no_dealer(server: Link, client: Link) -> None:
        """There is none."""

    return no_dealer, open_session


def run_model(
    model: Model,
    plan: Plan,
    use: Callable[[StepClient], T],
    wrap: Wrap = as_it_is,
    max_context: int | None = None,
    *,
    check_ranges: bool = False,
    batch: Batch = SINGLE,
    public_prefix: Sequence[int] = (),
    prefix: tuple[PrefixPart, PrefixPart] | None = None,
) -> tuple[T, Bill, Bill]:
    """A whole session over `model`; what `use` made of the client, the client's and the server's bill.

    Args:
        max_context: tokens that a session of the FSS suite has room for.
        check_ranges: whether that session evaluates every pass twice.
        batch: its sequences.
        public_prefix: tokens before all others that both parties know.
        prefix: the server's and the client's summands of what every query sees, of the FSS suite.
    """
    public = PublicModel.of(model)
    run = run_prefix(model.config, model.weights, public_prefix, model.ranges) if public_prefix else None
    if plan.suite == "fss":
        deal, open_session = _fss(plan, public, max_context, check_ranges, batch, run, prefix)
    elif plan.suite == "two-party":
        deal, open_session = _two_party(plan, public, batch)
    else:
        deal, open_session = _crypten(plan, public, batch, run)

    def server(link: Link, dealer: Link) -> Bill:
        with open_session(link, dealer, dict(model.weights)) as session:
            return serve_steps(link, session)

    def client(link: Link, dealer: Link) -> tuple[T, Bill]:
        with open_session(link, dealer, None) as session:
            steps = StepClient(link, session)
            result, bill = use(steps), steps.finish()
            steps.part()
            return result, bill

    outcome = run_three(deal, server, client, wrap)
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
    """A calibrated model with matrices N(0, 1 / in), gains near 1, epsilons from 0.05, the rest near 0."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if len(shape) == 2 and not name.startswith("embed.") and "temperature" not in name:
            weights[name] = values * shape[0] ** -0.5
        elif "norm" in name and name.endswith(".weight"):
            weights[name] = 1.0 + 0.1 * values
        elif name.endswith("attn.epsilon"):
            weights[name] = 0.05 + 0.1 * values.abs()
        else:
            weights[name] = values if name == "embed.tokens" else 0.1 * values
    model = Model(name="random", config=config, weights=weights, tokenizer=byte_tokenizer())
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))
