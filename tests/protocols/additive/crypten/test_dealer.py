"""The dealer: announcements, bounded memory, refusals, its death, and the insecure run without one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import get_plan
from parties.errors import CorrelationExhausted, InsecureRefused, PeerClosed, PeerMismatch, PeerTimeout
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import InsecureTestRandom
from parties.wire import Spec
from protocols.additive.correlations import Kind, Request
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.dealer import REQUESTS, SEED, Dealt, serve_dealer
from protocols.additive.registry import resolve
from protocols.additive.schedule import Schedule
from protocols.additive.source import DealerSource, InsecureServerDealer
from protocols.plan import Plan
from protocols.share import Share
from protocols.trust import Trust
from tests.deadlines import SILENCE_S

Parties = Callable[..., Any]
SQUARE = Request(Kind.SQUARE, ((100,),))


def work(executor: Any) -> Share:
    """A bit of everything, on an executor that computes or one that only counts."""
    x = executor.share_from(CLIENT, torch.zeros(2, 4) if executor.rank == CLIENT else None, (2, 4))
    weight = executor.weight("w", torch.zeros(4, 3) if executor.rank == SERVER else None, (4, 3))
    y = executor.linear(x, weight)
    y = executor.matmul(executor.rearrange(y, lambda t: t.transpose(0, 1)), x)
    y = executor.mul(executor.square(y), executor.less_than_zero(y))
    y = resolve(get_plan("crypten")).gelu(executor, executor.mul_public(y, 0.5))
    return executor.linear(
        executor.linear(executor.rearrange(y, lambda t: t[:1]), weight), weight, transposed=True
    )


def schedule_of(plan: Plan) -> list[Request]:
    schedule = Schedule()
    work(CountingArithmetic.of_plan(plan, Meter(timed=False), schedule))
    return schedule.requests


@pytest.mark.parametrize("linear", ["session", "beaver"])
@pytest.mark.parametrize("truncation", ["local", "exact"])
@pytest.mark.parametrize("comparison", ["packed", "words"])
def test_a_whole_pass_can_be_announced(
    parties: Parties, linear: str, truncation: str, comparison: str
) -> None:
    plan = get_plan("crypten").replace(linear=linear, truncation=truncation, comparison=comparison)

    def ahead(executor: CrypTenArithmetic) -> int:
        executor.prefetch(schedule_of(plan))
        work(executor)
        return executor.session.source.announced

    run, one_by_one = parties(ahead, plan=plan), parties(work, plan=plan)
    assert run.results == [0, 0]
    assert run.dealt == one_by_one.dealt
    assert run.dealt.correlations == len(schedule_of(plan))
    assert run.bill.total == one_by_one.bill.total


def test_announcing_changes_no_result(parties: Parties) -> None:
    value = torch.tensor([1.5, -2.0], dtype=torch.float64)

    def body(announce: bool) -> Callable[[CrypTenArithmetic], Any]:
        def step(executor: CrypTenArithmetic) -> Any:
            if announce:
                schedule = Schedule()
                schedule.square((2,))
                schedule.less_than_zero((2,))
                executor.prefetch(schedule.requests)
            x = executor.share_from(CLIENT, value if executor.rank else None, (2,))
            return executor.open_to(CLIENT, executor.mul(executor.square(x), executor.less_than_zero(x)))

        return step

    assert torch.equal(parties(body(True)).results[CLIENT], parties(body(False)).results[CLIENT])


def test_what_was_not_announced_is_refused(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        executor.prefetch([SQUARE])
        executor.mul(*[executor.share_from(CLIENT, torch.zeros(3) if executor.rank else None, (3,))] * 2)

    run = parties(body, check=False)
    assert all(isinstance(error, CorrelationExhausted) for error in run.errors[:2])
    assert "beaver.square" in str(run.errors[SERVER])
    assert "beaver.mul" in str(run.errors[SERVER])


class Ends:
    """A dealer's two links, driven by hand instead of by parties."""

    def __init__(self) -> None:
        pairs = [local_pair(), local_pair()]
        self.dealer_ends = [pair[1] for pair in pairs]
        self.dealer = [Link(end, Meter(), None) for end in self.dealer_ends]
        self.server, self.client = (Link(pair[0], Meter(), None) for pair in pairs)


def test_the_dealer_stays_within_its_window() -> None:
    """The server never acknowledges: two answers of 800 bytes go out, a third would pass 2000 bytes."""
    ends = Ends()
    outcome: list[BaseException] = []

    def deal() -> None:
        try:
            serve_dealer(*ends.dealer, randomness=InsecureTestRandom(1), window_bytes=2000)
        except PeerTimeout as error:
            outcome.append(error)
        ends.dealer[0].close()

    ends.server.send_document({"requests": [SQUARE.to_plain()] * 9}, REQUESTS)
    ends.dealer_ends[0].recv_timeout_s = SILENCE_S  # for acknowledgements: the requests are there already
    dealer = threading.Thread(target=deal)
    dealer.start()
    ends.server.recv([Spec(8, (16,))], SEED)
    for _ in range(2):
        ends.server.recv([Spec(64, (100,))], "beaver.square")
    with pytest.raises(PeerClosed):
        ends.server.recv([Spec(64, (100,))], "beaver.square")
    dealer.join()
    assert len(outcome) == 1


def test_a_large_answer_is_not_held_back_for_ever() -> None:
    """Little is unacknowledged, but with the next answer it would pass the window."""
    ends = Ends()
    dealer = threading.Thread(target=lambda: serve_dealer(*ends.dealer, window_bytes=2000))
    dealer.start()
    source = DealerSource(SERVER, ends.server, Meter(), window_bytes=2000)
    requests = [Request(Kind.SQUARE, ((length,),)) for length in (50, 240, 10, 500, 1)]
    source.prefetch(requests)
    taken = [source.take(request).results[0].shape[0] for request in requests]
    source.close()
    dealer.join()
    assert taken == [50, 240, 10, 500, 1]


def test_acknowledgements_keep_the_dealer_going(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        executor.prefetch([SQUARE] * 50)
        x = executor.share_from(CLIENT, torch.zeros(100) if executor.rank else None, (100,))
        for _ in range(50):
            executor.square(x)

    def narrow(server: Link, client: Link) -> Dealt:
        return serve_dealer(server, client, window_bytes=1 << 24)

    assert parties(body, dealer=narrow).dealt.bytes_to_server == 50 * 800


@pytest.mark.parametrize(
    "document",
    [
        {"requests": [["beaver.mul", [[2], [3]], "", 0]]},
        {"requests": "all"},
        {"requests": [SQUARE.to_plain()], "more": 1},
        {"received": 1},
        {"received": -1},
        {"end": False},
        {},
    ],
    ids=repr,
)
def test_nonsense_is_refused_by_the_dealer(document: dict[str, Any]) -> None:
    ends = Ends()
    ends.server.send_document(document, REQUESTS)
    with pytest.raises(PeerMismatch):
        serve_dealer(*ends.dealer)


def test_a_weight_keeps_its_shape() -> None:
    ends = Ends()
    first = Request(Kind.LINEAR, ((1, 2), (2, 3)), "w")
    second = Request(Kind.LINEAR, ((1, 3), (3, 2)), "w")
    ends.server.send_document({"requests": [first.to_plain(), second.to_plain()]}, REQUESTS)
    with pytest.raises(PeerMismatch, match="'w' had shape"):
        serve_dealer(*ends.dealer)


@pytest.mark.parametrize("after", [0, 3])
def test_a_dead_dealer_is_named_at_once(parties: Parties, after: int) -> None:
    """The dealer's program ends after some correlations: both parties stop, by name, before any deadline."""

    def dying(server: Link, client: Link) -> Dealt:
        for link in (server, client):
            link.send([InsecureTestRandom(1).uint8((16,))], 8, SEED)
        for _ in range(after):
            server.recv_document(REQUESTS)
            server.send([InsecureTestRandom(2).uint64((5,))], 64, "beaver.square")
        return Dealt()

    def body(executor: CrypTenArithmetic) -> None:
        x = executor.share_from(CLIENT, torch.zeros(5) if executor.rank else None, (5,))
        for _ in range(10):
            executor.square(x)

    run = parties(body, dealer=dying, check=False)
    assert isinstance(run.errors[SERVER], PeerClosed)
    assert "the dealer" in str(run.errors[SERVER])
    assert isinstance(run.errors[CLIENT], PeerClosed)


def test_a_closed_source_gives_nothing(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        executor.session.source.close()
        executor.session.source.close()
        executor.session.source.take(SQUARE)

    run = parties(body, check=False)
    assert isinstance(run.errors[SERVER], CorrelationExhausted)
    assert isinstance(run.errors[CLIENT], CorrelationExhausted)


def test_the_client_receives_its_seed_and_nothing_else(parties: Parties) -> None:
    received: list[int] = []

    def watching(server: Link, client: Link) -> Dealt:
        dealt = serve_dealer(server, client)
        received.append(client._sent)  # pyright: ignore[reportPrivateUsage]
        return dealt

    run = parties(work, dealer=watching)
    assert received == [1]
    assert run.bill.total.offline_bytes_to_client == 16
    assert run.bill.total.offline_bytes_to_server == 16 + run.dealt.bytes_to_server


# -- the insecure run ----------------------------------------------------------------------------------------


def test_the_server_as_dealer_is_refused_unless_allowed() -> None:
    with pytest.raises(InsecureRefused, match="can decrypt everything"):
        InsecureServerDealer()


def test_the_server_as_dealer_is_named_in_the_bill(parties: Parties) -> None:
    value = torch.tensor([[1.5, -2.0], [0.0, 3.0]], dtype=torch.float64)

    def body(executor: CrypTenArithmetic) -> Any:
        x = executor.share_from(CLIENT, value if executor.rank else None, (2, 2))
        weight = executor.weight("w", value if executor.rank == SERVER else None, (2, 2))
        y = executor.mul(executor.linear(x, weight), executor.less_than_zero(x))
        return executor.open_to(CLIENT, y), executor.session.source.trust

    run = parties(body, plan=get_plan("crypten"), insecure=True)
    opened, trust = run.results[CLIENT]
    assert torch.allclose(opened, value @ value * (value < 0), atol=8 * 2.0**-16)
    assert trust is Trust.TEST_ONLY
    for meter in run.meters:
        assert any("decrypt everything" in note for note in meter.bill().notes)
    assert run.bill.total.offline_bytes_to_server == run.bill.total.offline_bytes_to_client == 0


def test_a_secure_run_has_no_such_note(parties: Parties) -> None:
    run = parties(work)
    assert run.bill.notes == []
