"""Sessions of a tiny model whose dealer has a store: three threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from mpcinfer.models.public import PublicModel
from mpcinfer.service.dealing.refill import Refill, Refilled
from mpcinfer.service.dealing.store import DealerStore
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import announce
from mpcinfer.suites.fss.connect import encoded_weights, fss_over
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.stored_dealing import FIRST
from parties.bill import Bill
from parties.link import Link
from protocols.fss.preprocessing.source import DealerSource, RunShape
from tests.mpcinfer.roles.test_fss_sessions import EXACT, PROMPT, small
from tests.mpcinfer.three_parties import run_three

ROOM = 12
BUDGET = 1 << 30
SERVER_KEY, CLIENT_KEY = "S" * 40, "C" * 40
Steps = list[list[int]]
ANSWER: Steps = [PROMPT, [7], [8]]
Deal = Callable[[Link, Link], object]


@dataclass
class Talk:
    """What came of a session: the client's logits, both bills, and the dealer's line."""

    logits: list[torch.Tensor]
    client: Bill
    server: Bill
    line: str


def program() -> Program:
    """Of sessions with room for `ROOM` tokens."""
    public = PublicModel.of(small())
    return Program.of(EXACT, public.config, public.ranges, ROOM)


def use_answer(steps: StepClient) -> list[torch.Tensor]:
    """A prompt, and two tokens after it."""
    steps.expect(2)
    return [steps.step(ids) for ids in ANSWER]


def talk(
    deal: Deal, use: Callable[[StepClient], list[torch.Tensor]] = use_answer, *, first: int = len(PROMPT)
) -> Talk:
    """A session over a dealer; the first pass is announced and asked for as `fss_session` does, 0 for not."""
    lines = list[object]()

    def party(link: Link, dealer: Link) -> object:
        announce(dealer, "fss", **program().to_document(), **({FIRST: first} if first else {}))
        assert link.rank is not None
        own = None if link.rank else encoded_weights(program(), small().weights)
        asked = [RunShape(0, first)] if first else []
        with closing(DealerSource(link.rank, dealer)) as source:
            if asked:
                source.request(asked)
            with closing(fss_over(link, program(), own, source, None, asked)) as session:
                if link.rank == 0:
                    return serve_steps(link, session)
                steps = StepClient(link, session)
                logits, bill = use(steps), steps.finish()
                steps.part()
                return logits, bill

    outcome = run_three(lambda server, client: lines.append(deal(server, client)), party, party)
    logits, bill = outcome.client  # type: ignore[misc]
    assert isinstance(outcome.server, Bill)
    return Talk(logits, bill, outcome.server, str(lines[0]))


def stored(store: DealerStore, client_key: str = CLIENT_KEY) -> Deal:
    """The dealer of a pair."""
    return lambda server, client: store.deal_session(
        server, client, server_key=SERVER_KEY, client_key=client_key, client_name="someone"
    )


def opened(folder: Path, budget_bytes: int = BUDGET, quota_bytes: int | None = None) -> DealerStore:
    return DealerStore.open(folder, budget_bytes=budget_bytes, quota_bytes=quota_bytes)


def refilled(store: DealerStore, bundles: int = 1) -> None:
    """Deals so many bundles ahead."""
    refill = Refill(store, threading.Event())
    assert [refill.step() for _ in range(bundles)] == [Refilled.DEALT] * bundles


def rows(store: DealerStore, query: str) -> list[tuple[object, ...]]:
    """What the ledger says."""
    with store.ledger.transaction() as tx:
        return tx.execute(query).fetchall()


def states(store: DealerStore) -> dict[str, int]:
    """Bundles by state."""
    found = rows(store, "SELECT state, count(*) FROM bundles GROUP BY state")
    return {str(state): int(str(count)) for state, count in found}


def bundle_folders(store: DealerStore) -> set[str]:
    return {path.name for path in (store.folder / "bundles").iterdir()}
