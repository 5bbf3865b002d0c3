"""What sessions on additive shares open, put together, is uniform whatever secrets and padding are."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.channel import Channel
from parties.meter import SERVER
from parties.randomness import InsecureTestRandom
from parties.wire import Frame
from protocols.additive.correlations import Request, Stream
from protocols.additive.dealer import serve_dealer
from protocols.plan import Plan
from tests.mpcinfer import three_parties
from tests.mpcinfer.test_encoders import EMBEDDING
from tests.mpcinfer.test_polynomial import gpt2 as polynomial
from tests.mpcinfer.test_private_models import GPT2, LLAMA
from tests.mpcinfer.three_parties import random_model, run_model
from tests.protocols.additive.crypten.conftest import ALONE, XORED, Recorder, arrays
from tests.protocols.additive.crypten.test_openings import worst

CRYPTEN = get_plan("crypten").replace(truncation="exact")
ANY = Batch(4, padded=True)
FEWEST = 1024
"""Four samples a cell."""
EVERYWHERE = {"beaver.mul", "linear"}
"""What there is enough of in each."""


ONE = dataclasses.replace(GPT2, layers=1)
ENCODER = dataclasses.replace(EMBEDDING, layers=1)
WINDOWS = dataclasses.replace(LLAMA, layers=1, windows=(3,))
SESSIONS: dict[str, tuple[Callable[[], Model], Plan, Batch]] = {
    "padded batch": (partial(random_model, ONE), CRYPTEN, ANY),
    "padded batch, windows": (partial(random_model, WINDOWS), CRYPTEN, ANY),
    "padded texts": (partial(random_model, ENCODER), CRYPTEN, ANY),
    "poly": (polynomial, get_plan("poly"), SINGLE),
}
SECRETS = {"same": ([7] * 6, [0, 0, 0, 0]), "other": ([250, 3, 99, 140, 32, 1], [0, 2, 5, 3])}


def opened(name: str, secret: str) -> tuple[dict[str, torch.Tensor], list[tuple[object, ...]]]:
    """All words of each reason, of a pass; and its frames without their contents."""
    make, plan, batch = SESSIONS[name]
    ids, padding = SECRETS[secret]
    recorders: dict[int, Recorder] = {}

    def wrap(channel: Channel, rank: int) -> Channel:
        recorders[rank] = Recorder(channel)
        return recorders[rank]

    def use(steps: StepClient) -> None:
        if batch.padded:
            steps.pad(padding)
        steps.step(ids * batch.size)

    run_model(make(), plan, use, wrap, batch=batch)
    server = recorders[SERVER]
    shown = [frame for frame in (*server.sent, *server.received) if "/" in frame.label]
    return _words(server.sent, server.received), [(f.label, f.specs, f.depth) for f in shown]


def _words(sent: Sequence[Frame], received: Sequence[Frame]) -> dict[str, torch.Tensor]:
    """Both parties' messages put together; one by one where one party alone says something."""
    found: dict[str, list[torch.Tensor]] = defaultdict(list)
    ours, theirs = (_by_label(frames) for frames in (sent, received))
    for label in ours | theirs:
        why, mine, its = label.rsplit("/", 1)[1], ours.get(label, []), theirs.get(label, [])
        if why in ALONE or why.startswith("linear"):
            found[why] += [*mine, *its]
        elif why != "output":
            found[why] += [a ^ b if why in XORED else a + b for a, b in zip(mine, its, strict=True)]
    return {why: torch.cat([array.flatten() for array in every]) for why, every in found.items()}


def _by_label(frames: Sequence[Frame]) -> dict[str, list[torch.Tensor]]:
    found: dict[str, list[torch.Tensor]] = defaultdict(list)
    for frame in frames:
        if "/" in frame.label:
            found[frame.label] += arrays(frame)
    return found


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dealer's masks are the same in all runs of a test: it fails always or never."""
    seeded = partial(serve_dealer, randomness=InsecureTestRandom(1))
    monkeypatch.setattr(three_parties, "serve_dealer", seeded)


@pytest.mark.parametrize("name", SESSIONS)
def test_what_is_opened_is_uniform_and_its_frames_say_nothing(name: str) -> None:
    frames: list[list[tuple[object, ...]]] = []
    for secret in SECRETS:
        words, shown = opened(name, secret)
        frames.append(shown)
        enough = {why for why, every in words.items() if every.numel() >= FEWEST}
        assert enough >= EVERYWHERE, sorted(enough)
        for why in enough:
            assert worst(words[why], why) < 1, why
    assert frames[0] == frames[1]


@pytest.mark.parametrize("name", ["padded batch", "poly"])
def test_weak_masks_are_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The control: masks of 32 bits."""
    strong = Stream.masks

    def weak(self: Stream, request: Request) -> list[torch.Tensor]:
        return [mask & 0xFFFFFFFF for mask in strong(self, request)]

    monkeypatch.setattr(Stream, "masks", weak)
    words, _ = opened(name, "other")
    assert worst(words["beaver.mul"], "beaver.mul") > 1
