"""Server, dealer and client as real processes: the bill, and what happens when one of them fails."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpcinfer.models.folder import load_model_folder, load_public_folder, save_model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.connect import connect_client
from mpcinfer.roles.together import private
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError, CorrelationExhausted, HandshakeFailed, PeerClosed, RangeError
from parties.keys import KeyPair, new_keypair
from parties.launch import Processes
from protocols.plan import Plan
from tests.deadlines import HANG_S, until
from tests.mpcinfer.test_private_models import GPT2, RELU
from tests.mpcinfer.three_parties import random_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PLANS = {"crypten": 2, "fss": 2, "two-party": 1}
"""And how many processes are beside the client."""
OTHER = {"crypten": "crypten-stock", "fss": "fss-faithful"}
PATIENT = ["--timeout", str(HANG_S)]
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
"""What processes do does not depend on the model; their start takes longer than its passes."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, random_model(SMALL))
    return folder


@dataclass
class Parties:
    """A running server and dealer, and what a client needs to reach them."""

    model: Path
    plan: Plan
    pids: dict[str, int]
    pairs: dict[str, KeyPair]
    server: str
    dealer: str
    lines: list[str]

    def connect(
        self, *, keys: str = "client", plan: Plan | None = None, public: PublicModel | None = None
    ) -> contextlib.AbstractContextManager[PrivateClient]:
        return connect_client(
            public or load_public_folder(self.model),
            plan or self.plan,
            keys=self.pairs[keys],
            server=Address(self.server, self.pairs["server"].public),
            dealer=Address(self.dealer, self.pairs["dealer"].public),
            timeout_s=HANG_S,
        )


@pytest.fixture(params=[pytest.param("crypten", marks=pytest.mark.long), "fss"])
def parties(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> Generator[Parties]:
    pairs = {name: new_keypair(tmp_path, name) for name in ("server", "client", "dealer", "stranger")}
    server, for_server, for_client = (f"tcp://127.0.0.1:{port}" for port in _free_ports(3))
    key = {name: [f"--{name}-key", str(tmp_path / f"{name}.public")] for name in pairs}
    own = {name: ["--key", str(tmp_path / f"{name}.secret")] for name in pairs}
    program = [sys.executable, "-m", "mpcinfer.cli.main"]
    lines: list[str] = []
    with Processes(on_line=lines.append, grace_s=2.0) as processes:
        dealing = f"dealer --once --listen-server {for_server} --listen-client {for_client}"
        serving = (
            f"serve --once --listen {server} --dealer {for_server} --model {model} --plan {request.param}"
        )
        commands = {
            "dealer": [*dealing.split(), *PATIENT, *own["dealer"], *key["server"], *key["client"]],
            "server": [*serving.split(), *PATIENT, *own["server"], *key["client"], *key["dealer"]],
        }
        pids = {name: processes.start(name, [*program, *command]) for name, command in commands.items()}
        yield Parties(model, get_plan(request.param), pids, pairs, server, for_client, lines)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.mark.parametrize("plan", PLANS)
def test_the_bill_is_what_the_kernel_counted_and_nobody_is_left(model: Path, plan: str) -> None:
    with private(str(model), plan=plan, timeout_s=HANG_S) as client:
        answer = client.complete("def f(x", max_new_tokens=2)
        again = client.complete("return", max_new_tokens=2)
        assert len(_children()) == PLANS[plan]
        bill = client.finish()
    assert len(answer.ids) == len(again.ids) == 2
    assert any("exactly as billed" in note for note in bill.notes), bill.notes
    assert bill.total.offline_bytes_to_server > 0
    assert _children() == []


def test_an_insecure_dealer_is_named_in_the_bill(model: Path) -> None:
    with private(str(model), plan="crypten", insecure_dealer=True, timeout_s=HANG_S) as client:
        client.complete("x", max_new_tokens=1)
        bill = client.finish()
    assert any("decrypt everything" in note for note in bill.notes)
    assert bill.total.offline_bytes_to_server == 0


def test_a_value_beyond_its_range_ends_the_session_as_an_answer_does(model: Path, tmp_path: Path) -> None:
    narrow, lines = load_model_folder(model), list[str]()
    ranges = {name: value / 16 if "ffn.in/" in name else value for name, value in narrow.ranges.items()}
    save_model(tmp_path / "narrow", dataclasses.replace(narrow, ranges=ranges))
    running = private(str(tmp_path / "narrow"), check_ranges=True, timeout_s=HANG_S, say=lines.append)
    with pytest.raises(RangeError, match="mpcinfer calibrate"), running as client:
        client.complete("def f(x", max_new_tokens=2)
    assert any("server: session over" in line for line in lines), lines


@pytest.mark.parametrize("victim", ["server", "dealer"])
def test_a_killed_party_is_noticed(parties: Parties, victim: str) -> None:
    with contextlib.suppress(PeerClosed), parties.connect() as client:
        client.complete("x", max_new_tokens=1)
        os.kill(parties.pids[victim], signal.SIGKILL)
        with pytest.raises(PeerClosed):  # and not PeerTimeout, much later
            client.complete("y", max_new_tokens=1)


def test_a_client_that_goes_away_ends_the_session_with_a_named_error(parties: Parties) -> None:
    with pytest.raises(ZeroDivisionError), parties.connect() as client:
        print(1 / len(client.complete("x", max_new_tokens=0).ids))
    assert until(lambda: any("PeerClosed" in line for line in parties.lines)), parties.lines


def test_a_key_that_is_not_on_the_list_gets_nowhere(parties: Parties) -> None:
    with pytest.raises(HandshakeFailed, match="not on its list"), parties.connect(keys="stranger"):
        pytest.fail("a stranger got in")


@pytest.mark.parametrize("difference", ["plan", pytest.param("model", marks=pytest.mark.long)])
def test_parties_that_differ_part_at_once(parties: Parties, tmp_path: Path, difference: str) -> None:
    public, plan = None, parties.plan
    if difference == "plan":
        plan = get_plan(OTHER[plan.name])
    else:
        save_model(tmp_path / "other", random_model(RELU))
        public = load_public_folder(tmp_path / "other")
    with pytest.raises(HandshakeFailed, match=difference), parties.connect(plan=plan, public=public):
        pytest.fail("different plans or models went through")


@pytest.mark.parametrize("plan", [pytest.param("crypten", marks=pytest.mark.long), "fss-faithful"])
def test_a_conversation_goes_on_where_it_was(model: Path, plan: str) -> None:
    """What the session has seen is not run again: the second prompt costs as much as its new tokens."""
    with private(str(model), plan=plan, timeout_s=HANG_S) as client:
        first = client.complete("def f(x", max_new_tokens=2)
        kept = client.complete("def f(x" + first.text + "):", max_new_tokens=1, keep_cache=True)
        again = client.complete("def f(x" + first.text + "):", max_new_tokens=1)
        rows = {row.label: row for row in client.finish().rows}
    if plan == "fss-faithful":  # the other rounds at random
        assert kept.ids == again.ids
    # The output is opened once a pass: of the prompt, of one token, of the rest, and of all of it again.
    assert rows["output"].rounds == 4


def test_drafts_change_the_passes_and_not_the_answer(model: Path) -> None:
    prompt = "abcabcabcabc"
    with private(str(model), plan="fss-faithful") as client:
        plain = client.complete(prompt, max_new_tokens=4)
        drafted = client.complete(prompt, max_new_tokens=4, speculate=3)
        kept = client.complete(prompt + drafted.text + "abc", max_new_tokens=3, speculate=2, keep_cache=True)
        bill = client.finish()
    assert drafted.ids == plain.ids
    assert len(kept.ids) == 3
    assert drafted.speculation is not None
    assert drafted.speculation.drafted > 0
    [note] = [note for note in bill.notes if note.startswith("speculation: ")]
    assert "the server saw" in note
    vain = [int(note.split()[0]) for note in bill.notes if "never run" in note]
    assert sum(vain) <= 2  # an answer


def test_correlations_from_folders_need_no_dealer(model: Path, tmp_path: Path) -> None:
    pairs = {name: new_keypair(tmp_path, name) for name in ("server", "client")}
    [port] = _free_ports(1)
    out, at = tmp_path / "correlations", f"tcp://127.0.0.1:{port}"
    program = [sys.executable, "-m", "mpcinfer.cli.main"]
    dealing = f"deal --model {model} --plan fss --prompt 7 --answer 3 --count 2 --out {out}"
    serving = f"serve --once --model {model} --plan fss --listen {at} --correlations {out / 'server'}"
    serving += f" --key {tmp_path / 'server.secret'} --client-key {tmp_path / 'client.public'}"
    with Processes(grace_s=HANG_S) as processes:
        processes.start("dealer", [*program, *dealing.split()])
    with Processes() as processes:
        processes.start("server", [*program, *serving.split(), *PATIENT])
        with (
            processes.naming_the_dead(),
            connect_client(
                load_public_folder(model),
                get_plan("fss"),
                keys=pairs["client"],
                server=Address(at, pairs["server"].public),
                dealer=None,
                correlations=out / "client",
                timeout_s=HANG_S,
            ) as client,
        ):
            with pytest.raises(CorrelationExhausted, match="prompts of 7 tokens"):
                client.complete("def", max_new_tokens=3)
            with pytest.raises(ConfigError, match="let a dealer make the correlations"):
                client.complete("def f(x", max_new_tokens=3, speculate=2)
            first = client.complete("def f(x", max_new_tokens=3)
            second = client.complete("return ", max_new_tokens=9)  # there is room for three
            with pytest.raises(CorrelationExhausted, match=r"used up.*for more: mpcinfer deal"):
                client.complete("def f(x", max_new_tokens=3)
            bill = client.finish()
    assert len(first.ids) == len(second.ids) == 3
    assert any("exactly as billed" in note for note in bill.notes), bill.notes
    assert {path.name for path in (out / "client").iterdir()} == {"correlations.json", "next", "lock"}


def _children() -> list[str]:
    """Commands of this process's live children; from /proc, since a bare machine has no `ps`."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(parent) == os.getpid() and state != "Z" and "mpcinfer" in command:
            found.append(command)
    return found
