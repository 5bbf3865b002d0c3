"""A dealer with a store: sessions from bundles, live ones, and those that leave their bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mpcinfer.models.public import PublicModel
from mpcinfer.roles.dealer import deal_session
from mpcinfer.service.dealing.store import DealerStore
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig, announce
from mpcinfer.suites.fss import connect
from mpcinfer.suites.registry import SUITES, get_plan
from mpcinfer.suites.stock import Schedule
from parties.bill import Bill
from parties.errors import AdmissionRefused, ConfigError
from parties.handshake import Session
from parties.link import Link
from parties.meter import CLIENT
from protocols.additive.crypten.executor import crypten_executor
from protocols.fss.preprocessing.dealer_bundle import DealerBundle
from tests.mpcinfer.roles.test_fss_sessions import EXACT, PROMPT, Reference, small
from tests.mpcinfer.service.stored_sessions import (
    ANSWER,
    CLIENT_KEY,
    ROOM,
    Steps,
    bundle_folders,
    opened,
    refilled,
    rows,
    states,
    stored,
    talk,
    use_answer,
)
from tests.mpcinfer.three_parties import run_three

BYTES = ("offline_bytes_to_server", "offline_bytes_to_client", "online_bytes_to_server", "rounds")


def expected(steps: Steps) -> list[torch.Tensor]:
    reference = Reference(small(), ROOM)
    return [reference.step(ids) for ids in steps]


def require_right(got: list[torch.Tensor], steps: Steps = ANSWER) -> None:
    for mine, other in zip(got, expected(steps), strict=True):
        assert torch.equal(mine, other)


def totals(bill: Bill) -> list[int]:
    return [getattr(bill.total, name) for name in BYTES]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that had one session, and has a bundle for the next like it."""
    folder = tmp_path_factory.mktemp("example") / "store"
    with opened(folder) as store:
        require_right(talk(stored(store)).logits)
        refilled(store)
    return folder


@pytest.fixture
def filled(example: Path, tmp_path: Path) -> Generator[DealerStore]:
    """A copy of it, which nobody should make but a test."""
    shutil.copytree(example, tmp_path / "store")
    with opened(tmp_path / "store") as store:
        yield store


def test_a_session_from_a_bundle_is_as_one_dealt_live(filled: DealerStore) -> None:
    live = talk(deal_session)
    assert states(filled) == {"ready": 1}
    from_bundle = talk(stored(filled))
    require_right(from_bundle.logits)
    assert from_bundle.line.startswith("3 passes, 3 of them dealt ahead")
    assert totals(from_bundle.client) == totals(live.client)
    assert totals(from_bundle.server) == totals(live.server)
    assert from_bundle.client.notes == live.client.notes
    assert states(filled) == {"spent": 1}
    assert not bundle_folders(filled)
    assert "3 passes, 0 of them" in talk(stored(filled)).line  # none is left


def test_two_bundles_have_nothing_in_common(filled: DealerStore) -> None:
    """Neither seeds, those of the weights' masks with them, nor correlations."""
    with filled.ledger.transaction() as tx:
        tx.execute("INSERT INTO sessions SELECT kind, at + 1, passes, then_tokens, then_rows FROM sessions")
    refilled(filled)
    bundles = [DealerBundle(path) for path in (filled.folder / "bundles").iterdir()]
    assert len(bundles) == 2
    secrets = [
        secret
        for bundle in bundles
        for seeds in (bundle.seeds.server, bundle.seeds.client)
        for secret in (seeds.main, seeds.weights)
        if secret
    ]
    digests = [digest for bundle in bundles for run in bundle.runs for digest in run.digests]
    hashes = {bundle.seeds.server.hash for bundle in bundles}
    assert len(secrets) == len(set(secrets)) == 6
    assert len(digests) == len(set(digests)) == 18
    assert len(hashes) == 2
    for bundle in bundles:
        bundle.close()


def test_a_party_says_what_its_first_pass_is(filled: DealerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fss_session` with a dealer, whose connection is a thread's here."""
    public, to_dealer = PublicModel.of(small()), dict[object, Link]()

    @contextmanager
    def dealer_link(session: Session, *rest: object) -> Generator[Link]:
        yield to_dealer[session.mine.role]

    monkeypatch.setattr(connect, "dealer_link", dealer_link)

    def party(link: Link, dealer: Link) -> object:
        to_dealer["client" if link.rank else "server"] = dealer
        own = None if link.rank else dict(small().weights)
        asked = len(PROMPT) if link.rank else 0
        nowhere = Address("tcp://nowhere", "")
        with connect.fss_session(
            link,
            SessionConfig(
                plan=EXACT, public=public, weights=own, dealer=nowhere, max_context=ROOM, first=asked
            ),
        ) as session:
            if link.rank == 0:
                return serve_steps(link, session)
            steps = StepClient(link, session)
            logits = use_answer(steps)
            steps.finish()
            steps.part()
            return logits

    lines = list[object]()
    deal = stored(filled)
    outcome = run_three(lambda server, client: lines.append(deal(server, client)), party, party)
    require_right(outcome.client)  # type: ignore[arg-type]
    assert "3 passes, 3 of them dealt ahead" in str(lines[0])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _longer(steps: StepClient) -> list[torch.Tensor]:
    steps.expect(4)
    return [steps.step(ids) for ids in (*ANSWER, [9], [10])]


def _another_turn(steps: StepClient) -> list[torch.Tensor]:
    return [steps.step(ids) for ids in (PROMPT, [7], [8, 9, 10])]


def _another_prompt(steps: StepClient) -> list[torch.Tensor]:
    return [steps.step(PROMPT[:3])]


@pytest.mark.parametrize(
    ("use", "steps", "ahead"),
    [
        (_longer, [*ANSWER, [9], [10]], "3 of"),
        (_another_turn, [PROMPT, [7], [8, 9, 10]], "2 of"),
        (_another_prompt, [PROMPT[:3]], "1 of"),
    ],
    ids=["longer", "another turn", "another prompt than was announced"],
)
def test_a_session_may_leave_its_bundle(
    filled: DealerStore, use: Callable[[StepClient], list[torch.Tensor]], steps: Steps, ahead: str
) -> None:
    outcome = talk(stored(filled), use)
    require_right(outcome.logits, steps)
    assert ahead in outcome.line
    assert states(filled) == {"spent": 1}


def test_a_rewound_session_leaves_its_bundle(filled: DealerStore) -> None:
    def use(steps: StepClient) -> list[torch.Tensor]:
        first = [steps.step(PROMPT), steps.step([7])]
        steps.rewind(3)
        second = [steps.step([11])]
        steps.restart()
        return [*first, *second, steps.step(PROMPT[::-1])]

    outcome = talk(stored(filled), use)
    reference = Reference(small(), ROOM)
    wanted = [reference.step(PROMPT), reference.step([7])]
    reference.rewind(3)
    wanted.append(reference.step([11]))
    reference.rewind(0)
    wanted.append(reference.step(PROMPT[::-1]))
    for got, other in zip(outcome.logits, wanted, strict=True):
        assert torch.equal(got, other)


def test_a_session_that_ends_in_the_middle_has_used_its_bundle(filled: DealerStore) -> None:
    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.step(PROMPT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        talk(stored(filled), use)
    assert states(filled) == {"spent": 1}
    assert not bundle_folders(filled)
    assert len(rows(filled, "SELECT * FROM uses")) == 1


def test_a_session_that_announces_nothing_or_something_else_takes_no_bundle(filled: DealerStore) -> None:
    require_right(talk(stored(filled), first=0).logits)
    require_right(talk(stored(filled), _another_prompt, first=3).logits, [PROMPT[:3]])
    assert states(filled) == {"ready": 1}


def test_another_pair_takes_nothing(filled: DealerStore) -> None:
    require_right(talk(stored(filled, "D" * 40)).logits)
    assert states(filled) == {"ready": 1}


@pytest.mark.parametrize(
    ("damage", "ahead"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "0 of"),
        (lambda path: path.unlink(), "0 of"),
        (_flip, "2 of"),
    ],
    ids=["shorter", "gone", "a bit flipped"],
)
def test_a_damaged_bundle_is_said_and_the_session_dealt_live(
    filled: DealerStore, damage: Callable[[Path], object], ahead: str
) -> None:
    [bundle] = bundle_folders(filled)
    damage(filled.folder / "bundles" / bundle / "server.gates")
    outcome = talk(stored(filled))
    require_right(outcome.logits)
    assert ahead in outcome.line
    assert f"bundle {bundle} is damaged" in filled.status().notes[0][1]
    assert states(filled) == {"spent": 1}
    assert not bundle_folders(filled)


def test_a_ledger_that_cannot_be_written_fails_no_session(
    filled: DealerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk; the bundle that is not taken stays."""
    said = list[str]()
    monkeypatch.setattr(filled, "_say", said.append)
    with filled.ledger.transaction() as tx:
        [pages] = tx.execute("PRAGMA page_count").fetchone()
    filled.ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    filled.ledger._connection.execute(
        "CREATE TEMP TRIGGER full BEFORE UPDATE ON main.bundles BEGIN "
        "SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    outcome = talk(stored(filled))
    require_right(outcome.logits)
    assert "0 of" in outcome.line
    assert any("nothing could be taken" in line and "disk is full" in line for line in said)
    assert states(filled) == {"ready": 1}


def test_a_client_over_its_quota_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    require_right(talk(stored(store)).logits)
    used = store.used_bytes(CLIENT_KEY)
    assert used > 10_000
    refilled(store)
    require_right(talk(stored(store)).logits)  # a bundle counts as what is dealt live
    assert 1.9 * used < store.used_bytes(CLIENT_KEY) < 2.1 * used
    store.close()
    with opened(tmp_path / "store", quota_bytes=3 * used // 2) as strict:
        with pytest.raises(AdmissionRefused, match="quota") as refused:
            talk(stored(strict))
        assert refused.value.reason == "quota"
        assert refused.value.retry_s is not None
        assert 0 < refused.value.retry_s <= 25 * 3600
        require_right(talk(stored(strict, "D" * 40)).logits)


def test_a_quota_ends_a_session_that_goes_over_it(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "store", quota_bytes=20_000) as store,
        pytest.raises(AdmissionRefused, match="quota"),
    ):
        talk(stored(store))
    with opened(tmp_path / "store") as store:
        assert store.used_bytes(CLIENT_KEY) >= 20_000


def test_crypten_is_dealt_live_and_counted(tmp_path: Path) -> None:
    """No suite but fss deals ahead."""
    plan = get_plan("crypten")

    def party(link: Link, dealer: Link) -> float:
        announce(dealer, "crypten")
        with crypten_executor(
            link, dealer, plan, lambda purpose: purpose.encode().ljust(16)[:16]
        ) as executor:
            x = executor.share_from(CLIENT, torch.tensor([3.0]) if link.rank else None, (1,))
            opened_to = executor.open_to(CLIENT, executor.mul(x, x))
            return 0.0 if opened_to is None else float(opened_to)

    with opened(tmp_path / "store") as store:
        assert run_three(stored(store), party, party).client == pytest.approx(9.0, abs=1e-3)
        assert store.used_bytes(CLIENT_KEY) > 0
        assert rows(store, "SELECT * FROM kinds") == []
    with pytest.raises(ConfigError, match="deals nothing ahead"):
        SUITES["crypten"].deal_bundle({}, Schedule(tokens=1), tmp_path, lambda: True)
    with pytest.raises(ConfigError, match="deals nothing ahead"):
        SUITES["crypten"].most_bundle_bytes({}, Schedule(tokens=1))


def test_what_is_learned_is_the_first_pass_and_how_long_answers_were(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        for use in (_longer, _another_turn):
            talk(stored(store), use)
        assert sorted(map(str, rows(store, "SELECT passes, then_tokens, then_rows FROM sessions"))) == [
            "(2, 1, 1)",
            "(5, 1, 1)",
        ]
        [kind] = store.status().kinds
        assert (kind.schedule.tokens, kind.schedule.passes, kind.target) == (5, 5, 2)
        assert kind.plan == "fss-faithful"
