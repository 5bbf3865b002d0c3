"""A suite is one folder and one registration: a third one is billed, listed, counted and served."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from typer.testing import CliRunner

from mpcinfer.catalogue import listing
from mpcinfer.clear import ClearModel
from mpcinfer.cli.main import app
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_model, load_public
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.connect import connect_client
from mpcinfer.roles.server import serve_sessions
from mpcinfer.sessions.addresses import Address, Identity
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import PLANS, SUITES, disclosures, get_plan, register, suite_of
from parties.bill import Bill
from parties.errors import ConfigError
from parties.link import Link
from parties.threads import run_two_threads
from tests.conformance.backend_suite import CHECKS, Open
from tests.conformance.test_backends import CONFIGS, GPT2, MODELS
from tests.deadlines import HANG_S
from tests.parties.pairs import CONNECTOR, LISTENER, free_endpoint
from tests.suites.insecure_ideal.suite import NAME, InsecureIdealSuite

Step = tuple[Sequence[int] | int, int]
"""Tokens and rows; or a length to go back to, and 0."""
COUNTED = ("rounds", "online_bytes_to_server", "online_bytes_to_client", "setup_bytes")


@pytest.fixture(autouse=True)
def registered() -> Generator[None]:
    """The one registration; undone after each test."""
    register(InsecureIdealSuite())
    yield
    del SUITES[NAME], PLANS[NAME]


@dataclass
class Private:
    """A session of both parties in threads, with the steps of `mpcinfer.generation.Session`: all of them are
    taken again for every new one."""

    model: Model
    steps: list[Step] = field(default_factory=list[Step])

    def step(self, ids: Sequence[int], rows: int = 1) -> torch.Tensor:
        self.steps.append((ids, rows))
        _, logits = run_two_threads(self._party, self._party)
        assert isinstance(logits, torch.Tensor)
        return logits

    def rewind(self, length: int) -> None:
        self.steps.append((length, 0))

    def _party(self, link: Link) -> torch.Tensor | None:
        weights, logits = None if link.rank else self.model.weights, None
        session_config = SessionConfig(
            plan=get_plan(NAME), public=PublicModel.of(self.model), weights=weights
        )
        with suite_of(session_config.plan).open(link, session_config) as session:
            for what, rows in self.steps:
                if isinstance(what, int):
                    session.rewind(what)
                else:
                    logits = session.advance(what if link.rank else None, len(what), rows)
        return logits


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("model", MODELS, ids=CONFIGS)
def test_it_passes_the_backend_suite(model: Model, check: Callable[[Open, Model], None]) -> None:
    check(Private, model)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_a_run_costs_what_is_counted(config: ModelConfig) -> None:
    model = MODELS[list(CONFIGS.values()).index(config)]
    public, plan = PublicModel.of(model), get_plan(NAME)

    def server(link: Link) -> Bill:
        with suite_of(plan).open(
            link, SessionConfig(plan=plan, public=public, weights=model.weights)
        ) as session:
            return serve_steps(link, session)

    def client(link: Link) -> Bill:
        with suite_of(plan).open(link, SessionConfig(plan=plan, public=public)) as session:
            steps = StepClient(link, session)
            steps.step([1, 2, 3, 4, 5])
            steps.step([6])
            bill = steps.finish()
            steps.part()
            return bill

    bills = run_two_threads(server, client)
    expected = count(config, plan, tokens=5, new_tokens=2)
    for bill in bills:
        assert isinstance(bill, Bill)
        for row in expected.rows:
            measured = next(each for each in bill.rows if each.label == row.label)
            assert [getattr(measured, name) for name in COUNTED] == [getattr(row, name) for name in COUNTED]
        assert [getattr(bill.total, name) for name in COUNTED] == [
            getattr(expected.total, name) for name in COUNTED
        ]


def test_it_is_served_over_tcp_without_a_dealer() -> None:
    plan, endpoint, said = get_plan(NAME), free_endpoint(), list[str]()
    serving = threading.Thread(
        target=serve_sessions,
        args=(load_public("tiny-python"), load_model("tiny-python").weights, plan),
        kwargs={
            "listen": endpoint,
            "identity": Identity(LISTENER, CONNECTOR.public),
            "dealer": None,
            "timeout_s": HANG_S,
            "once": True,
            "say": said.append,
        },
        daemon=True,
    )
    serving.start()
    address = Address(endpoint, LISTENER.public)
    public = load_public("tiny-python")
    with connect_client(
        public, plan, keys=CONNECTOR, server=address, dealer=None, timeout_s=HANG_S
    ) as client:
        answer = client.complete("for i in", max_new_tokens=3)
        bill = client.finish()
    serving.join(HANG_S)
    expected = ClearModel(load_model("tiny-python"), fixed_point=True, plan=NAME)
    assert answer.ids == expected.complete("for i in", max_new_tokens=3).ids
    assert "INSECURE: the server saw every value" in bill.notes
    assert any("shows every value to the server" in line for line in said)


def test_it_is_listed_and_disclosed() -> None:
    [entry] = listing.protocols(NAME)
    assert (entry.suite, entry.operation, entry.name) == (NAME, "function", "ideal")
    assert entry.cost.online_bits_to_server == 128
    assert NAME in listing.plans()["known"]
    assert disclosures(get_plan(NAME)) == [f"function=ideal {entry.reveals}"]
    shown = CliRunner().invoke(app, ["list", "protocols", "--suite", NAME, "--json"])
    assert [row["suite"] for row in json.loads(shown.stdout)] == [NAME]
    shown = CliRunner().invoke(app, ["cost", "gpt2", "--plan", NAME, "--json"])
    expected = count(load_config("gpt2"), get_plan(NAME), tokens=128)
    assert Bill.from_json(json.loads(shown.stdout)).total == expected.total


def test_a_suite_or_a_plan_that_is_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="already"):
        register(InsecureIdealSuite())


def test_what_it_cannot_do_is_said_by_name() -> None:
    suite, plan = suite_of(get_plan(NAME)), get_plan(NAME)
    with pytest.raises(ConfigError, match="does not check the ranges"):
        count(GPT2, plan, tokens=3, check_ranges=True)
    with pytest.raises(ConfigError, match="no protocol 'real'"):
        suite.check(plan.replace(function="real"))
