"""A user's journey: a model of one's own at the server, and a client that has nothing but keys."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

import mpcinfer
from mpcinfer.cli.main import app
from mpcinfer.roles.processes import free_ports
from mpcinfer.sessions.public_exchange import PUBLIC_LABEL
from mpcinfer.verification import UNCHECKED
from parties.errors import ConfigError, HandshakeFailed
from parties.keys import new_keypair
from parties.launch import Processes
from tests.deadlines import HANG_S
from tests.mpcinfer.hugging_face import llama_folder

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PROMPT, NEW_TOKENS, CONTEXT = "for i in", 2, 64
PLAN = ["--plan", "fss-faithful"]
COUNTED = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "offline_rounds",
    "setup_rounds",
)


def run(folder: Path, *words: object) -> Result:
    """A command in a folder, within this process; its error as it is."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "500"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


class Machines:
    """A folder for the server and one for the client; the client's has keys, and of the model nothing."""

    def __init__(self, root: Path) -> None:
        self.server, self.client = root / "server", root / "client"
        llama_folder(self.server / "model")
        self.client.mkdir()
        for name in ("server", "client", "dealer"):
            new_keypair(self.server, name)
        for name in ("client.secret", "server.public", "dealer.public"):
            shutil.copy(self.server / name, self.client)
        (self.server / "prompts.txt").write_text("for i in range(3): print(i)\n\nhello world\n")
        run(self.server, *["calibrate", "model", "--prompts", "prompts.txt", "--out", "model/ranges.json"])

    @contextmanager
    def serving(self) -> Generator[list[str]]:
        """A server and a dealer of one session; the options with which a client reaches them."""
        at, for_server, for_client = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        dealing = f"dealer --once --listen-server {for_server} --listen-client {for_client}"
        dealing += " --key dealer.secret --server-key server.public --client-key client.public"
        serving = f"serve --once --model model --listen {at} --dealer {for_server} --key server.secret"
        serving += f" --client-key client.public --dealer-key dealer.public --timeout {HANG_S}"
        program = [sys.executable, "-m", "mpcinfer.cli.main"]
        with Processes(grace_s=2.0) as processes:
            with contextlib.chdir(self.server):
                processes.start("dealer", [*program, *dealing.split()])
                processes.start("server", [*program, *serving.split(), *PLAN])
            reach = f"--server {at} --server-key server.public --dealer {for_client} --key client.secret"
            yield [*reach.split(), "--dealer-key", "dealer.public", "--timeout", str(HANG_S), *PLAN]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Generator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path.cwd()))
        yield Machines(tmp_path_factory.mktemp("machines"))


def test_a_client_with_keys_alone_gets_the_answer_and_the_counted_bill(machines: Machines) -> None:
    server, client = machines.server, machines.client
    said = run(server, "publish", "model", "--out", "published").stdout
    [digest] = re.findall(r"digest ([0-9a-f]{64})", said)
    with machines.serving() as reach:
        asked = [
            "generate",
            PROMPT,
            *reach,
            "--tokens",
            NEW_TOKENS,
            "--digest",
            digest,
            "--exact-lengths",
            "--json",
        ]
        answer = json.loads(run(client, *asked).stdout)
    assert {path.name for path in client.iterdir()} == {"client.secret", "server.public", "dealer.public"}
    bill = answer["bill"]
    # The answer is the model's.
    model = mpcinfer.load_model(server / "model")
    fixed = mpcinfer.ClearModel(model, fixed_point=True, plan="fss-faithful")
    assert answer["token_ids"] == list(fixed.complete(PROMPT, max_new_tokens=NEW_TOKENS).ids)
    # `cost` of what was published is the bill, to the byte; what was fetched is billed apart, as control.
    counted = ["cost", "published", "--tokens", len(PROMPT), "--new-tokens", NEW_TOKENS, *PLAN]
    cost = json.loads(run(server, *counted, "--max-context", CONTEXT, "--json").stdout)
    assert {name: cost[name] for name in COUNTED} == {name: bill[name] for name in COUNTED}
    public = mpcinfer.load_public(server / "published")
    [fetched] = [row for row in bill["labels"] if row["label"] == PUBLIC_LABEL]
    document = len(public.head()) + len(public.text())
    assert document < fetched["control_bytes"] < document + 100
    assert all(fetched[name] == 0 for name in COUNTED)
    assert any("exactly as billed" in note for note in bill["notes"])
    assert any(f"came from the server, digest {digest}, as pinned" in note for note in bill["notes"])
    assert UNCHECKED in bill["notes"]
    # No weight is in what the client got.
    got = [path.read_bytes() for path in (server / "published").iterdir()] + [public.head(), public.text()]
    assert not _weights_in(load_file(server / "model" / "model.safetensors"), got)


def _weights_in(weights: dict[str, Any], contents: list[bytes]) -> list[str]:
    """Weights of which four numbers in a row, in a float type, or one as text, stand somewhere."""
    found: list[str] = []
    for name, weight in weights.items():
        numbers = weight.flatten().numpy()
        for window in (numbers[at : at + 4] for at in range(0, len(numbers) - 4, 4)):
            if np.ptp(window) == 0:
                continue
            marks = [window.astype(kind).tobytes() for kind in (np.float16, np.float32)]
            marks += [f"{abs(float(number)):.7f}".encode() for number in window]
            found += [name for content in contents if any(mark in content for mark in marks)]
    return found


def test_a_client_that_pinned_another_model_parts_before_the_session(machines: Machines) -> None:
    refused = pytest.raises(HandshakeFailed, match="the server's model is not the one that was pinned")
    with machines.serving() as reach, refused:
        run(machines.client, "generate", PROMPT, *reach, "--digest", "0" * 64)


def test_a_client_deals_for_what_was_published(machines: Machines, tmp_path: Path) -> None:
    run(machines.server, "publish", "model", "--out", tmp_path / "given")
    words = ["deal", "--model", "given", "--prompt", 4, "--answer", 1, "--out", "correlations"]
    assert "dealt 1 passes" in run(tmp_path, *words).stderr
    assert (tmp_path / "correlations" / "client" / "correlations.json").is_file()
    with pytest.raises(ConfigError, match="given has no weights"):
        run(tmp_path, "generate", "abcd", "--model", "given", "--local", "plain")


@pytest.mark.parametrize("plan", ["fss-faithful", pytest.param("fss", marks=pytest.mark.long)])
def test_an_answer_is_verified_where_the_weights_are(machines: Machines, plan: str) -> None:
    words = ["generate", PROMPT, "--model", "model", "--local", "private", "--plan", plan]
    answer = json.loads(run(machines.server, *words, "--tokens", NEW_TOKENS, "--verify", "--json").stdout)
    [note] = [note for note in answer["bill"]["notes"] if note.startswith("verified: model in fixed point")]
    assert ("the same logits bit by bit, 2 times" if plan == "fss-faithful" else "the same logits") in note
    assert answer["verified"] is True
    assert UNCHECKED not in answer["bill"]["notes"]


def test_what_cannot_be_done_is_said_before_anybody_is_asked(machines: Machines) -> None:
    nobody = ["generate", PROMPT, "--server", "tcp://127.0.0.1:1"]
    with pytest.raises(ConfigError, match=r"--verify needs the model's weights.*--check-ranges"):
        run(machines.client, *nobody, "--verify")
    with pytest.raises(ConfigError, match="64 hex digits"):
        run(machines.client, *nobody, "--digest", "abc")
    with pytest.raises(ConfigError, match="not UTF-8: byte 0xff after 4 characters"):
        run(machines.client, "generate", "for \udcff", "--local", "private")
