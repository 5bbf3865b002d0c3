"""Real processes: a killed peer is noticed, a dead child is named, and nothing is left behind."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from parties.errors import ConfigError, PeerClosed, PeerTimeout
from parties.keys import new_keypair
from parties.launch import Processes
from parties.tcp import Listener, connect
from tests.deadlines import HANG_S, SILENCE_S, until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TALKER = [sys.executable, "-m", "tests.parties.talker"]
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
CHILD = [
    sys.executable,
    "-c",
    "from parties.launch import end_with_parent; end_with_parent(); " + SLEEPER[-1],
]
IGNORE_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
STUBBORN = [sys.executable, "-c", IGNORE_SIGTERM + SLEEPER[-1]]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and was waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _lines(queued: queue.Queue[str], count: int) -> list[str]:
    return [queued.get(timeout=HANG_S) for _line in range(count)]


@pytest.mark.parametrize("victim", ["listen", "connect"])
def test_a_killed_peer_is_noticed_by_the_other_process(tmp_path: Path, victim: str) -> None:
    for name in ("one", "two"):
        new_keypair(tmp_path, name)
    one = [str(tmp_path / "one.secret"), str(tmp_path / "two.public")]
    two = [str(tmp_path / "two.secret"), str(tmp_path / "one.public")]
    said: queue.Queue[str] = queue.Queue()
    with Processes(said.put) as processes:
        pids = {"listen": processes.start("listen", [*TALKER, "listen", "tcp://127.0.0.1:*", *one])}
        (endpoint,) = _lines(said, 1)
        pids["connect"] = processes.start("connect", [*TALKER, "connect", endpoint, *two])
        assert _lines(said, 2) == ["talking", "talking"]
        os.kill(pids[victim], signal.SIGKILL)
        assert _lines(said, 1) == [PeerClosed.__name__]  # and not PeerTimeout, much later
    assert not any(map(_alive, pids.values()))


@pytest.mark.parametrize("how", ["listen", "connect"])
def test_a_killed_peer_is_noticed_by_this_process(tmp_path: Path, how: str) -> None:
    mine, peer_key = new_keypair(tmp_path, "mine"), new_keypair(tmp_path, "theirs").public
    files = [str(tmp_path / "theirs.secret"), str(tmp_path / "mine.public")]
    said: queue.Queue[str] = queue.Queue()
    with Processes(said.put) as processes:
        if how == "listen":
            pid = processes.start("peer", [*TALKER, "listen", "tcp://127.0.0.1:*", *files])
            channel = connect(_lines(said, 1)[0], mine, peer_key, connect_timeout_s=HANG_S)
        else:
            listener = Listener("tcp://127.0.0.1:*", mine, [peer_key])
            pid = processes.start("peer", [*TALKER, "connect", listener.endpoint, *files])
            channel = listener.accept(HANG_S)
        with channel:
            channel.recv()  # its first array
            os.kill(pid, signal.SIGKILL)
            channel.recv_timeout_s = HANG_S  # a loss that is not noticed would be PeerTimeout
            with pytest.raises(PeerClosed):
                channel.recv()


def _fail_beside(
    command: list[str], lines: int, error: Exception, *, kill: bool = False, grace_s: float = HANG_S
) -> None:
    """Meets an error of a peer after a process has said so many lines."""
    said: queue.Queue[str] = queue.Queue()
    with Processes(said.put, grace_s) as group:
        pid = group.start("server", command)
        _lines(said, lines)
        if kill:
            os.kill(pid, signal.SIGKILL)
        with group.naming_the_dead():
            raise error


def test_a_dead_process_is_named_with_its_last_words() -> None:
    script = (
        "import sys; [print('line', n) for n in range(30)]; sys.stdout.flush(); sys.exit('no model at all')"
    )
    with pytest.raises(PeerClosed, match="the server process ended with status 1") as raised:
        _fail_beside([sys.executable, "-c", script], 31, PeerTimeout("nobody listens"))
    assert "no model at all" in str(raised.value)
    assert "line 29" in str(raised.value)
    assert "line 3\n" not in str(raised.value)


def test_a_killed_process_is_named() -> None:
    with pytest.raises(PeerClosed, match="the server process was ended by signal 9"):
        _fail_beside(SLEEPER, 1, PeerClosed("gone"), kill=True)


def test_an_error_while_everybody_lives_is_left_alone() -> None:
    with pytest.raises(PeerTimeout, match=r"^slow$"):
        _fail_beside(SLEEPER, 1, PeerTimeout("slow"), grace_s=SILENCE_S)


def test_processes_may_finish() -> None:
    said: queue.Queue[str] = queue.Queue()
    with Processes(said.put, grace_s=HANG_S) as group:
        group.start("short", [sys.executable, "-c", "import time; time.sleep(0.3); print('done')"])
    assert _lines(said, 1) == ["done"]


@pytest.mark.parametrize("command", [SLEEPER, STUBBORN], ids=["heeds", "ignores"])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_nothing_is_left_behind(command: list[str], error: type[BaseException] | None) -> None:
    said: queue.Queue[str] = queue.Queue()
    pids: list[int] = []

    def use() -> None:
        with Processes(said.put, grace_s=0.3) as group:
            pids.extend(group.start(name, command) for name in ("a", "b"))
            _lines(said, 2)
            if error is not None:
                raise error

    if error is None:
        use()
    else:
        with pytest.raises(error):
            use()
    assert len(pids) == 2
    assert not any(map(_alive, pids))


@pytest.mark.parametrize(
    ("request_to_end", "child"),
    [
        (signal.SIGTERM, STUBBORN),
        (signal.SIGHUP, STUBBORN),
        (signal.SIGINT, STUBBORN),
        (signal.SIGKILL, CHILD),
    ],
)
def test_a_parent_that_ends_leaves_nothing_behind(request_to_end: signal.Signals, child: list[str]) -> None:
    script = f"""
import queue, signal, time
from parties.launch import Processes
# Under nohup, or in the background of a script, a process starts with these ignored, and stays so.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
up = queue.Queue()
with Processes(up.put, grace_s=0.3) as group:
    pids = group.start("a", {CHILD!r}), group.start("b", {child!r})
    print(up.get(), up.get(), *pids, flush=True)
    time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-uc", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert parent.stdout is not None
        first, second, *pids = parent.stdout.readline().split()
        assert (first, second) == ("up", "up")
        children = [int(pid) for pid in pids]
        assert len(children) == 2
        parent.send_signal(request_to_end)
        parent.wait(HANG_S)
    finally:
        parent.kill()
        parent.communicate()
    # Orphans are waited for by the system, in its own time.
    assert until(lambda: not any(map(_alive, children)))


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Processes():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_that_does_not_exist() -> None:
    with Processes() as group, pytest.raises(ConfigError, match="cannot start the server process"):
        group.start("server", ["/no/such/program"])
