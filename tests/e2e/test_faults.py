"""A server and a dealer that run as they do for users, and kill -9 of one process after the other, at moments
drawn anew in every run; `python -m bench.faults all` is the long form, with more kinds of faults."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest

from bench.faults.kinds import KINDS, PROCESSES
from bench.faults.place import Place, place_of
from bench.faults.service import Setting

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]
SHORT = ("serving-worker", "server-front", "client")
MOMENTS = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    with place_of(tmp_path_factory.mktemp("faults") / "service", Setting()) as running:
        yield running


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in PROCESSES]
)
def test_others_end_by_name_and_the_next_session_is_right(place: Place, name: str) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")  # shown where it fails
    draw = np.random.default_rng(seed)
    for _ in range(MOMENTS):
        place.service.await_workers()
        KINDS[name].fault(place, draw)
        place.require_session()
        place.service.require_settled()
