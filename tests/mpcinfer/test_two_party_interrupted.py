"""A party that is interrupted between two messages is named by the other, in every phase without a dealer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from mpcinfer.sessions.exchange import StepClient
from parties.link import Link
from parties.meter import CLIENT, SERVER
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.two_parties import run_two_parties

SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
PHASES = {
    "set-up": "correlations.keys/",
    "while encrypted products are made": "/rlwe.",
    "while transfers are extended": "/ot.columns",
    "while correlations are made": "correlations.wrap/",
    "online": "/truncate",
}
PARTIES = {"server": SERVER, "client": CLIENT}


def use(steps: StepClient) -> torch.Tensor:
    return steps.step([1, 2])


@pytest.mark.parametrize("victim", PARTIES)
@pytest.mark.parametrize("phase", PHASES)
def test_the_other_party_is_told(phase: str, victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, met = Link.send, list[str]()

    def send(self: Link, arrays: Any, bits: Any, label: str | None = None) -> None:
        name = label or self.meter.label
        if self.rank == PARTIES[victim] and PHASES[phase] in name and not met:
            met.append(name)
            raise KeyboardInterrupt
        honest(self, arrays, bits, label)

    monkeypatch.setattr(Link, "send", send)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_two_parties(random_model(SMALL), use)
    (other,) = set(PARTIES) - {victim}
    assert met, "nothing was sent in this phase"
    assert any(f"the {other} raised PeerClosed" in note for note in caught.value.__notes__)
