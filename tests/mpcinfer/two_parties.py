"""Server and client as two threads, without a dealer, for tests of whole models under `two-party`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.suites.registry import PLANS
from mpcinfer.suites.two_party.session import TwoPartySession
from parties.bill import Bill
from parties.link import Link
from parties.local import local_pair
from parties.threads import run_two_threads
from parties.wire import Frame
from protocols.plan import Plan
from tests.protocols.additive.crypten.conftest import Recorder

Use = Callable[[StepClient], torch.Tensor]


@dataclass(frozen=True, eq=False)
class TwoPartyRun:
    """A session.

    Attributes:
        result: what the client made of it.
        bill: the client's.
        to_server, to_client: every frame, by who received it.
    """

    result: torch.Tensor
    bill: Bill
    to_server: list[Frame]
    to_client: list[Frame]

    @property
    def frames(self) -> list[Frame]:
        return [*self.to_server, *self.to_client]


def run_two_parties(model: Model, use: Use, plan: Plan = PLANS["two-party"]) -> TwoPartyRun:
    """A whole session over `model`, whose correlations the parties make as it runs."""
    public = PublicModel.of(model)
    recorders = [Recorder(end) for end in local_pair()]

    def server(link: Link) -> Bill:
        return serve_steps(link, TwoPartySession(link, plan, public, dict(model.weights)))

    def client(link: Link) -> tuple[torch.Tensor, Bill]:
        steps = StepClient(link, TwoPartySession(link, plan, public, None))
        result, bill = use(steps), steps.finish()
        steps.part()
        return result, bill

    _, (result, bill) = run_two_threads(server, client, channels=(recorders[0], recorders[1]))
    return TwoPartyRun(result, bill, recorders[0].received, recorders[1].received)
