"""Two threads: results, and whose error is raised."""

from __future__ import annotations

from typing import NoReturn

import pytest

from parties.errors import PeerClosed, PeerTimeout
from parties.link import Link
from parties.threads import run_two_threads
from tests.deadlines import SILENCE_S
from tests.parties.pairs import tcp_pair


def _ask(link: Link) -> dict[str, int]:
    link.send_document({"rank": link.rank})
    return link.recv_document()


def _wait(link: Link) -> dict[str, int]:
    return link.recv_document()


def _fail(link: Link) -> NoReturn:
    raise ValueError(f"party {link.rank} had enough")


def test_results() -> None:
    assert run_two_threads(_ask, _ask) == ({"rank": 1}, {"rank": 0})


def test_results_over_tcp() -> None:
    assert run_two_threads(_ask, _ask, channels=tcp_pair()) == ({"rank": 1}, {"rank": 0})


@pytest.mark.parametrize("over_tcp", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_error_wins_and_the_other_is_noted(rank: int, over_tcp: bool) -> None:
    parties = (_fail, _wait) if rank == 0 else (_wait, _fail)
    with pytest.raises(ValueError, match=f"party {rank} had enough") as raised:
        run_two_threads(*parties, channels=tcp_pair() if over_tcp else None)
    name, other = ("server", "client") if rank == 0 else ("client", "server")
    mine, others = raised.value.__notes__
    assert mine == f"raised by the {name}"
    assert others.startswith(f"afterwards the {other} raised {PeerClosed.__name__}: ")


def test_a_party_that_is_done_early() -> None:
    with pytest.raises(PeerClosed):
        run_two_threads(_wait, lambda link: None)


def test_both_silent() -> None:
    with pytest.raises(PeerTimeout):
        run_two_threads(_wait, _wait, timeout_s=SILENCE_S)
