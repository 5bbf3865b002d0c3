"""Sessions that end are opened again, and whatever goes wrong in one, the thread that has them lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from mpcinfer.clear import ClearModel
from mpcinfer.models.load import load_model
from mpcinfer.proxy.model_thread import Job, ModelThread
from mpcinfer.turn import ChatModel
from parties.errors import ConfigError, HandshakeFailed, PeerClosed
from tests.deadlines import HANG_S


@pytest.fixture(scope="module")
def clear() -> ClearModel:
    return ClearModel(load_model("tiny-python"))


class Sessions:
    """Opens sessions, and says which is which."""

    def __init__(self, clear: ClearModel) -> None:
        self.opened, self.errors, self._clear = 0, list[type[BaseException] | None](), clear

    @contextmanager
    def __call__(self) -> Generator[ChatModel]:
        self.opened += 1
        self.errors.append(None)
        at = self.opened - 1
        try:
            yield self._clear
        except BaseException as error:
            self.errors[at] = type(error)
            raise


def test_a_session_that_ended_is_opened_again_once(clear: ClearModel) -> None:
    sessions = Sessions(clear)
    thread = ModelThread(sessions, most_waiting=2)
    thread.start()

    def gone(model: ChatModel) -> int:
        if sessions.opened == 1:
            raise PeerClosed("it went away")
        return sessions.opened

    def always_gone(model: ChatModel) -> int:
        raise PeerClosed("again")

    def refused(model: ChatModel) -> int:
        raise ConfigError("no")

    def run(work: Callable[[ChatModel], int], *, begun: bool = False) -> int:
        job = Job(work, begun)
        thread.submit(job)
        return job.done.result(HANG_S)

    assert run(gone) == 2
    assert sessions.errors == [PeerClosed, None]
    with pytest.raises(PeerClosed, match="again"):
        run(always_gone)
    assert sessions.opened == 3
    with pytest.raises(ConfigError):  # says nothing about the session
        run(refused)
    assert run(lambda model: sessions.opened) == 4
    with pytest.raises(PeerClosed):  # some of the answer is out
        run(always_gone, begun=True)
    assert sessions.opened == 4
    thread.close()


def test_whatever_goes_wrong_in_a_session_the_thread_lives(clear: ClearModel) -> None:
    opened = 0

    @contextmanager
    def breaking() -> Generator[ChatModel]:
        nonlocal opened
        opened += 1
        try:
            yield clear
        finally:
            if opened == 1:
                raise OSError("while it ends")

    def fails(model: ChatModel) -> None:
        raise AssertionError("in the middle of a pass")

    thread = ModelThread(breaking, most_waiting=2)
    thread.start()
    job = Job(fails)
    thread.submit(job)
    with pytest.raises(AssertionError, match="in the middle"):
        job.done.result(HANG_S)
    job = Job(lambda _: opened)
    thread.submit(job)
    assert job.done.result(HANG_S) == 2  # the parties were out of step
    assert thread.waiting == 0
    thread.close()


def test_another_model_is_not_taken_for_the_first(clear: ClearModel) -> None:
    other = ClearModel(load_model("tiny-power4"))
    models = [clear, other]

    @contextmanager
    def open_model() -> Generator[ChatModel]:
        yield models.pop(0)

    def gone(model: ChatModel) -> None:
        raise PeerClosed("it went away")

    thread = ModelThread(open_model, most_waiting=2)
    thread.start()
    job = Job(gone)
    thread.submit(job)
    with pytest.raises(HandshakeFailed, match="another model now"):
        job.done.result(HANG_S)
    thread.close()


def test_who_left_is_not_waited_for(clear: ClearModel) -> None:
    go, ran = threading.Event(), list[int]()

    @contextmanager
    def open_model() -> Generator[ChatModel]:
        yield clear

    thread = ModelThread(open_model, most_waiting=1)
    thread.start()
    jobs = [Job(lambda _: go.wait(HANG_S)), Job(lambda _: ran.append(1))]
    for job in jobs:
        thread.submit(job)
    jobs[1].leave()
    assert thread.waiting == 1  # there is room for another
    last = Job(lambda _: ran.append(2))
    thread.submit(last)
    go.set()
    last.done.result(HANG_S)
    assert ran == [2]
    thread.close()


def test_what_the_first_session_raises_is_raised_at_the_start() -> None:
    @contextmanager
    def open_model() -> Generator[ChatModel]:
        raise ConfigError("no such model")
        yield

    with pytest.raises(ConfigError, match="no such model"):
        ModelThread(open_model, most_waiting=1).start()
