"""Correlations that two parties made before and kept: used once, billed as counted, and by nobody else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Kept
from parties.bill import Bill
from parties.errors import ConfigError, CorrelationExhausted, HandshakeFailed, MpcInferError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.threads import run_two_threads
from tests.deadlines import HANG_S
from tests.mpcinfer.test_batches import Noting
from tests.mpcinfer.test_private_models import _costs
from tests.mpcinfer.test_two_party_models import PLAN, PROMPT, SMALL, offline
from tests.mpcinfer.three_parties import random_model

NAMES = ("server", "client")
MODEL = random_model(SMALL)
LENGTHS = [len(PROMPT), 1]
Use = Callable[[StepClient], list[torch.Tensor]]


def config_of(rank: int | None, model: Model = MODEL, folder: Path | None = None) -> SessionConfig:
    weights = dict(model.weights) if rank == SERVER else None
    return SessionConfig(plan=PLAN, public=PublicModel.of(model), weights=weights, correlations=folder)


def made(out: Path, lengths: list[int] = LENGTHS, bundles: int = 2) -> list[Path]:
    """Both parties' folders."""
    folders = [out / name for name in NAMES]

    def party(link: Link) -> int:
        assert link.rank is not None
        asked = {"lengths": lengths, "count": bundles} if link.rank == CLIENT else {}
        kept = Kept(out=folders[link.rank], command="mpcinfer prepare", **asked)
        return suite_of(PLAN).prepare(link, config_of(link.rank), kept)

    assert run_two_threads(party, party, timeout_s=HANG_S) == (bundles, bundles)
    return folders


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bundles of both parties, to be copied."""
    out = tmp_path_factory.mktemp("kept")
    made(out, bundles=3)
    return out


def copied(kept: Path, to: Path) -> list[Path]:
    return [Path(shutil.copytree(kept / name, to / name)) for name in NAMES]


def session(folders: list[Path], use: Use, model: Model = MODEL) -> tuple[list[torch.Tensor], Bill]:
    """A session over folders."""

    def server(link: Link) -> Bill:
        with suite_of(PLAN).open(link, config_of(SERVER, model, folders[SERVER])) as steps:
            return serve_steps(link, steps)

    def client(link: Link) -> tuple[list[torch.Tensor], Bill]:
        with suite_of(PLAN).open(link, config_of(CLIENT, model, folders[CLIENT])) as private:
            steps = StepClient(link, private)
            result, bill = use(steps), steps.finish()
            steps.part()
            return result, bill

    return run_two_threads(server, client, timeout_s=HANG_S)[1]


def conversation(steps: StepClient) -> list[torch.Tensor]:
    steps.restart()
    first = steps.step(PROMPT)
    return [first, steps.step([int(first.argmax())])]


def next_of(folder: Path) -> int:
    return int((folder / "next").read_text())


def test_a_conversation_from_folders_is_right_and_costs_what_is_counted(kept: Path, tmp_path: Path) -> None:
    folders = copied(kept, tmp_path)
    logits, bill = session(folders, conversation)
    by = Noting()
    ClearModel(MODEL, fixed_point=True, plan=PLAN.name).complete("def f(x", max_new_tokens=2, sampler=by)
    for mine, right in zip(logits, by.logits, strict=True):
        assert float((mine - right).abs().max()) < 0.1 * float(right.std())
    assert _costs(bill) == _costs(count(SMALL, PLAN, tokens=len(PROMPT), new_tokens=2, ranges=MODEL.ranges))
    assert bill.total.wire_bytes_to_client < offline(bill)  # nothing was made while it ran
    assert any("from a folder" in note for note in bill.notes)
    assert [next_of(folder) for folder in folders] == [1, 1]
    assert {path.name for path in folders[0].iterdir()} == {
        *("prepared.json", "next", "lock"),
        *(f"00000{index}.{part}" for index in (1, 2) for part in ("bundle", "parts")),
    }  # fmt: skip

    def twice(steps: StepClient) -> list[torch.Tensor]:
        second = conversation(steps)
        conversation(steps)
        with pytest.raises(CorrelationExhausted, match=r"used up.*for more: mpcinfer prepare"):
            conversation(steps)
        return second

    second, cheaper = session(folders, twice)
    assert all(torch.isfinite(each).all() for each in second)
    assert 0 < offline(cheaper) < offline(bill)  # keys and base transfers were sent for the first


def test_other_lengths_are_refused_before_anything_is_used(kept: Path, tmp_path: Path) -> None:
    folders = copied(kept, tmp_path)

    def other(steps: StepClient) -> list[torch.Tensor]:
        with pytest.raises(CorrelationExhausted, match=f"prompts of {len(PROMPT)} tokens and 2 new ones"):
            steps.step(PROMPT[:-1])
        logits = conversation(steps)
        with pytest.raises(CorrelationExhausted, match="for others: mpcinfer prepare"):
            steps.step([1])
        return logits

    assert len(session(folders, other)[0]) == 2


def test_what_one_party_says_it_used_is_not_used_by_the_other(kept: Path, tmp_path: Path) -> None:
    """A party that was killed after its counter went forward is one ahead; more is no crash."""
    folders = copied(kept, tmp_path)
    (folders[SERVER] / "next").write_text("1\n")
    session(folders, conversation)
    assert [next_of(folder) for folder in folders] == [2, 2]
    (folders[CLIENT] / "next").write_text("0\n")
    with pytest.raises(PeerMismatch, match="old copy"):
        session(folders, conversation)


def test_folders_of_other_parties_makings_and_weights_are_refused(kept: Path, tmp_path: Path) -> None:
    first, second = (copied(kept, tmp_path / name) for name in ("first", "second"))
    manifest = second[CLIENT] / "prepared.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "id": "0" * 32}))
    with pytest.raises(HandshakeFailed, match="correlations"):
        session([first[SERVER], second[CLIENT]], conversation)
    with pytest.raises(ConfigError, match="the other party's correlations"):
        session([first[CLIENT], first[SERVER]], conversation)
    other = replace(MODEL, weights={name: value * 0.5 for name, value in MODEL.weights.items()})
    with pytest.raises(MpcInferError, match="made with other weights"):
        session(first, conversation, other)
    first[CLIENT].chmod(0o755)
    with pytest.raises(ConfigError, match="open to others"):
        session(first, conversation)


def test_a_making_that_is_cut_off_leaves_nothing_that_can_be_used(tmp_path: Path) -> None:
    def server(link: Link) -> int:
        kept = Kept(out=tmp_path / "server", command="mpcinfer prepare")
        return suite_of(PLAN).prepare(link, config_of(SERVER), kept)

    def client(link: Link) -> None:
        class Killed(Exception):
            pass

        def kill(done: int, of: int, size: int) -> None:
            link.close()

        kept = Kept(out=tmp_path / "client", command="", lengths=LENGTHS, count=2, on_progress=kill)
        suite_of(PLAN).prepare(link, config_of(CLIENT), kept)

    with pytest.raises(MpcInferError):
        run_two_threads(server, client, timeout_s=HANG_S)
    for name in NAMES:
        assert not suite_of(PLAN).holds(tmp_path / name)
        with pytest.raises(ConfigError, match="no correlations that `mpcinfer prepare` made"):
            session([tmp_path / name, tmp_path / name], conversation)


@pytest.mark.parametrize(
    ("lengths", "bundles", "message"),
    [([0], 1, "1 or more each"), ([10_000], 1, "has room for"), ([2], 1001, "1 to 1000 conversations")],
)
def test_what_cannot_be_made_is_refused(
    tmp_path: Path, lengths: list[int], bundles: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        made(tmp_path, lengths, bundles)
