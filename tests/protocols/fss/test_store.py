"""Correlations on disk: each bundle is used once, whatever happens to the process that uses it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from parties.errors import ConfigError, CorrelationExhausted, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER, Phase
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from protocols.fss.preprocessing import bundle_store
from protocols.fss.preprocessing.bundle_store import VERSION, BundleWriter, Manifest, Store
from protocols.fss.preprocessing.file_stream import Reader
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.stored_source import StoredSource
from protocols.fss.preprocessing.transport import Dealt, Part
from protocols.one_time import new_folder
from tests.deadlines import HANG_S

LENGTHS, COUNT = [4, 1, 1], 3
DEALT = [Dealt(30, 20, 10), Dealt(3, 2, 1), Dealt(0, 5, 4)]
RUNS = [RunShape(0, 4), RunShape(4, 1), RunShape(5, 1)]
NAMES = ("server", "client")


def _content(rank: int, index: int, part: Part) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    size = sum(dealt.to_party(rank)[part] for dealt in DEALT)
    return InsecureTestRandom(100 * rank + 10 * index + int(part)).uint8((size,))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """What the dealer wrote: three bundles of three passes for each party."""
    weights = bytes(range(16))
    made = [new_folder(tmp_path / name) for name in NAMES]
    for index in range(COUNT):
        seeds = DealerSeeds.fresh(InsecureTestRandom(index), weights)
        for rank, own in enumerate((seeds.server, seeds.client)):
            with closing(BundleWriter(made[rank], index)) as bundle:
                for part in Part:
                    bundle.writer(part)(_content(rank, index, part))
                bundle.end(own, DEALT)
    for rank, folder in enumerate(made):
        Manifest(
            id="ab" * 16,
            rank=rank,
            session={"max_context": 7},
            lengths=LENGTHS,
            count=COUNT,
            command="mpcinfer deal",
            weights=weights.hex() if rank == SERVER else "",
        ).save(folder)
    return made


@pytest.fixture
def store(folders: list[Path]) -> Generator[Store]:
    with closing(Store(folders[SERVER])) as opened:
        yield opened


def test_a_bundle_gives_what_was_dealt(store: Store) -> None:
    with closing(store.take(1)) as bundle:
        for part in Part:
            expected, at = _content(SERVER, 1, part), 0
            readers = [Reader(*bundle.section(part, run)) for run in range(3)]
            for run in (2, 0, 1):  # passes are read independently of each other
                size = DEALT[run].to_party(SERVER)[part]
                at = sum(dealt.to_party(SERVER)[part] for dealt in DEALT[:run])
                assert (readers[run].bytes(size) == expected[at : at + size]).all()
                assert readers[run].left_bytes == 0
        assert bundle.seeds.main == DealerSeeds.fresh(InsecureTestRandom(1)).server.main


def test_files_are_gone_while_they_are_used(store: Store) -> None:
    with closing(store.take(1)):
        assert (store.folder / "next").read_text() == "2\n"
        names = {path.name for path in store.folder.iterdir()}
    assert names == {"correlations.json", "lock", "next", "000002.bundle", "000002.gates", "000002.linear"}


def test_a_bundle_is_used_once(store: Store) -> None:
    store.take(1).close()
    for used in (0, 1):
        with pytest.raises(CorrelationExhausted, match=f"bundle {used} was used before; the next is 2"):
            store.take(used)
    store.take(2).close()
    with pytest.raises(CorrelationExhausted, match=r"server is used up, 3 conv.*for more: mpcinfer deal"):
        store.take(3)


def test_a_counter_that_cannot_be_read_stops_everything(store: Store) -> None:
    (store.folder / "next").write_text("many")
    with pytest.raises(ConfigError, match="damaged"):
        store.take(0)


def test_files_of_the_owner_alone(folders: list[Path]) -> None:
    for folder in folders:
        assert folder.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_one_process_at_a_time(store: Store) -> None:
    with pytest.raises(ConfigError, match="in use by another process"):
        Store(store.folder)
    store.close()
    store.close()
    Store(store.folder).close()


@pytest.mark.parametrize("part", ["bundle", "gates", "linear"])
def test_a_damaged_bundle_is_named_and_used_up(store: Store, part: str) -> None:
    path = store.folder / f"000000.{part}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="bundle 0 is damaged"):
        store.take(0)
    assert store.next == 1


def test_folders_that_are_none(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no correlations"):
        Store(tmp_path / "nowhere")
    manifest = folders[CLIENT] / "correlations.json"
    manifest.write_text(manifest.read_text().replace(f'"version": {VERSION}', '"version": 1'))
    with pytest.raises(ConfigError, match="version 1"):
        Store(folders[CLIENT])
    with pytest.raises(ConfigError, match="not empty"):
        new_folder(folders[SERVER])


def test_masks_hide_one_set_of_weights(store: Store) -> None:
    store.bind_weights("a")
    store.bind_weights("a")
    with pytest.raises(CorrelationExhausted, match="other weights"):
        store.bind_weights("b")


# -- both parties --------------------------------------------------------------------------------------------


def _both(folders: list[Path], first: tuple[int, int]) -> list[list[bytes]]:
    """Each party takes a conversation after having used up as many bundles; first bytes of its passes."""

    def party(link: Link) -> list[bytes]:
        assert link.rank is not None
        store = Store(folders[link.rank])
        if first[link.rank]:
            store.take(first[link.rank] - 1).close()
        with closing(StoredSource(link, store)) as source:
            assert (source.weight_streams is None) == (link.rank == CLIENT)
            drawn: list[bytes] = []
            for runs in (RUNS[:1], RUNS[1:]):
                source.check(runs)
                source.request(runs)
                for _ in runs:
                    with closing(source.collect()) as correlations:
                        drawn.append(correlations.streams.gates.draw_bytes(4) + correlations.hash.key)
            with pytest.raises(CorrelationExhausted, match="prompts of 4 tokens and 3 new"):
                source.check([RunShape(6, 1)])
            return drawn

    return list(run_two_threads(party, party))


@pytest.mark.parametrize(("first", "agreed"), [((0, 0), 0), ((1, 2), 2), ((1, 0), 1)])
def test_parties_go_on_from_the_later_number(
    folders: list[Path], first: tuple[int, int], agreed: int
) -> None:
    drawn = _both(folders, first)
    seeds = DealerSeeds.fresh(InsecureTestRandom(agreed))
    for rank, own in enumerate((seeds.server, seeds.client)):
        expected = [own.streams(run).gates.draw_bytes(4) + own.hash for run in range(3)]
        assert drawn[rank] == expected
        with closing(Store(folders[rank])) as store:
            assert store.next == agreed + 1


@pytest.mark.parametrize("ahead", [SERVER, CLIENT])
def test_a_party_that_claims_to_be_further_costs_the_other_nothing(folders: list[Path], ahead: int) -> None:
    first = (2, 0) if ahead == SERVER else (0, 2)
    with pytest.raises(PeerMismatch, match=r"mpcinfer skip .* --to 2|old copy"):
        _both(folders, first)
    with closing(Store(folders[1 - ahead])) as store:
        assert store.next == 0
        store.skip_to(2)
        with pytest.raises(CorrelationExhausted, match="cannot be"):
            store.skip_to(1)
        assert not list(folders[1 - ahead].glob("000001.*"))
    _both(folders, (0, 0))


def test_where_one_party_has_none_left_both_stop(folders: list[Path]) -> None:
    with pytest.raises(CorrelationExhausted):
        _both(folders, (0, 3))


def test_the_other_partys_folder_is_refused(folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match="other party"):
        _both(folders[::-1], (0, 0))


def test_a_peer_that_says_no_number(folders: list[Path]) -> None:
    def server(link: Link) -> None:
        with closing(StoredSource(link, Store(folders[SERVER]))) as source:
            source.request(RUNS)

    def client(link: Link) -> None:
        with link.meter.phase(Phase.CONTROL):
            link.send_document({"next": "0"}, "session.correlations")

    with pytest.raises(PeerMismatch, match="'0'"):
        run_two_threads(server, client)


# -- kill -9 -------------------------------------------------------------------------------------------------

_VICTIMS = """
import os, signal, sys
from pathlib import Path
from protocols.fss.preprocessing.bundle_store import Store

def victim(folder, left):
    def dying(name):
        real = getattr(os, name)
        def call(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            if name == "preadv":
                print("used", flush=True)
            return real(*arguments, **options)
        setattr(os, name, call)

    store = Store(Path(folder))
    for name in ("open", "write", "fsync", "rename", "close", "unlink", "preadv"):
        dying(name)
    bundle = store.take(store.next)
    section, size = bundle.section(0, 0)
    buffer = bytearray(size)
    assert section.readinto(memoryview(buffer)) == size

for line in sys.stdin:
    folder, calls = line.split("\\t")
    process = os.fork()
    if process == 0:
        victim(folder, int(calls))
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@pytest.fixture
def victims() -> Generator[Callable[[Path, int], tuple[int, list[str]]]]:
    """Processes that take a bundle and kill themselves before their n-th call that touches the disk.

    Each is forked from one that has imported what they need; it gives their status and what they said.
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", _VICTIMS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=Path(__file__).parents[3],
    )
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        stdin, stdout = parent.stdin, parent.stdout

        def victim(folder: Path, calls: int) -> tuple[int, list[str]]:
            stdin.write(f"{folder}\t{calls}\n")
            *said, ended = _up_to("ended", stdout)
            return int(ended.split()[1]), said

        yield victim
        stdin.close()
        assert parent.wait(HANG_S) == 0


def _up_to(word: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines up to the first that starts with the word."""
    for line in lines:
        yield line
        if line.startswith(word):
            return


@pytest.mark.e2e
@pytest.mark.slow
def test_a_party_that_is_killed_never_uses_a_bundle_twice(
    folders: list[Path], tmp_path: Path, victims: Callable[[Path, int], tuple[int, list[str]]]
) -> None:
    """Killed before each system call in turn: what was read is never found again, by it or by another."""
    fresh = tmp_path / "fresh"
    shutil.copytree(folders[SERVER], fresh)
    killed = used = 0
    for calls in range(100):
        folder = tmp_path / f"after-{calls}"
        shutil.copytree(fresh, folder)
        status, said = victims(folder, calls)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed, used = killed + 1, used + ("used\n" in said)
        with closing(Store(folder)) as store:
            first = store.next
            if "used\n" in said:
                assert first == 1
                assert not (folder / "000000.gates").exists()
            with closing(store.take(first)) as bundle:  # it goes on, with the same bundle only if unused
                assert bundle.seeds.main == DealerSeeds.fresh(InsecureTestRandom(first)).server.main
    assert killed >= 10
    assert status == 0


def test_the_counter_is_on_disk_before_anything_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of what happens on disk: the counter, the bundle's names, each synced; then it is read."""
    happened: list[str] = []
    for name in ("write", "fsync", "rename", "unlink"):
        real = getattr(os, name)

        def told(*arguments: object, _name: str = name, _real: object = real) -> object:
            happened.append(_name)
            return _real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, told)
    read = bundle_store._read_header  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(bundle_store, "_read_header", lambda *what: (happened.append("read"), read(*what))[1])
    store.take(0).close()
    counter, names = ["write", "fsync", "rename", "fsync"], ["unlink"] * 3 + ["fsync"]
    assert happened[:9] == [*counter, *names, "read"]


def test_names_that_a_crash_left_are_taken_away(folders: list[Path]) -> None:
    (folders[SERVER] / "next").write_text("2\n")
    with closing(Store(folders[SERVER])):
        assert [path.name for path in sorted(folders[SERVER].glob("0*"))] == [
            "000002.bundle",
            "000002.gates",
            "000002.linear",
        ]


def test_a_folder_that_others_can_open_is_refused(folders: list[Path]) -> None:
    folders[CLIENT].chmod(0o750)
    with pytest.raises(ConfigError, match="open to others"):
        Store(folders[CLIENT])
