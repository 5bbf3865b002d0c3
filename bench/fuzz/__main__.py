"""Bad input, and what became of it; a record of each campaign goes to bench/records/fuzz.jsonl.

    python -m bench.fuzz parser --frames 100000 --seed 1      frames against all that reads one
    python -m bench.fuzz handshake --frames 100000            every exchange, for every reader of it
    python -m bench.fuzz live --frames 1000 --plan fss        a server and a dealer as processes
    python -m bench.fuzz strangers --peers 64                 who has not shown a key yet
    python -m bench.fuzz first --endpoint tcp://127.0.0.1:7100 --key client.secret --peer server.public

All is drawn from the seed, which is printed: `--first N --frames 1` repeats one frame. `first` is for
whatever listens already, such as a front. Ends with 1 where something broke the rules: an error without a
name, one that is long or quotes a payload, a process that ended, an honest client that was not served, or
64 MB of memory more than before.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.fuzz.outcomes import MOST_GROWN_BYTES, lines
from bench.records import RECORDS, Record

FILE = "fuzz.jsonl"
_WARM_FRAMES = 500
_KNOCKS = 20


def _parser(options: argparse.Namespace) -> dict[str, Any]:
    from bench.fuzz.parser import fuzz_parser
    from bench.fuzz.recording import recorded

    sound = recorded()
    fuzz_parser(sound, _WARM_FRAMES, options.seed + 1)
    return fuzz_parser(sound, options.frames, options.seed, first=options.first).document()


def _handshake(options: argparse.Namespace) -> dict[str, Any]:
    from bench.fuzz.exchanges import all_scenes, fuzz_exchanges

    return fuzz_exchanges(all_scenes(), options.frames, options.seed, first=options.first).document()


def _live(options: argparse.Namespace) -> dict[str, Any]:
    from bench.fuzz.live import Live
    from bench.fuzz.recording import recorded
    from bench.fuzz.running import running

    with running(options.plan) as here:
        live = Live(here, options.seed, recorded())
        live.lie(options.frames if options.lies is None else options.lies)
        live.write_raw(options.frames)
        live.knock(_KNOCKS)
        return live.end()


def _strangers(options: argparse.Namespace) -> dict[str, Any]:
    from bench.fuzz.running import running
    from bench.fuzz.strangers import besiege

    with running(options.plan) as here:
        return besiege(here, options.peers)


def _first(options: argparse.Namespace) -> dict[str, Any]:
    from bench.fuzz.live import attack_first_message
    from bench.fuzz.recording import recorded
    from mpcinfer.service.process_memory import ProcessMemory
    from parties.keys import load_public, load_secret
    from parties.tcp import connect

    keys, peer = load_secret(options.key), load_public(options.peer)
    before = ProcessMemory.of(options.pid).proportional if options.pid else 0
    names = attack_first_message(
        lambda: connect(options.endpoint, keys, peer, recv_timeout_s=options.patience),
        recorded(),
        options.frames,
        options.seed,
    )
    after = ProcessMemory.of(options.pid).proportional if options.pid else 0
    found = ["memory grew by 64 MB or more"] if after - before >= MOST_GROWN_BYTES else []
    outcomes = {"first message": names}
    return {
        "frames": options.frames,
        "outcomes": outcomes,
        "memory_before": before,
        "memory_after": after,
        "found": found,
    }


_CAMPAIGNS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "parser": _parser,
    "handshake": _handshake,
    "live": _live,
    "strangers": _strangers,
    "first": _first,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("campaign", choices=list(_CAMPAIGNS))
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--lies", type=int, help="sessions that `live` lies in; as many as frames by default")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=0, help="number of the first frame")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--peers", type=int, default=64)
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--patience", type=float, default=2.0, help="seconds, of `first`")
    parser.add_argument("--pid", type=int, default=0, help="whose memory `first` looks at")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    options.seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    return options


def main() -> None:
    """Runs one campaign, says what became of it, and keeps it."""
    options = _options()
    print(f"{options.campaign}: seed {options.seed}", flush=True)
    document = _CAMPAIGNS[options.campaign](options)
    for line in lines(document):
        print(line)
    if not options.no_record:
        Record(
            case=f"fuzz/{options.campaign}",
            plan=options.plan if options.campaign in ("live", "strangers") else "",
            model="tiny-python" if options.campaign in ("live", "strangers") else "random",
            tokens=0,
            measured=True,
            bill={},
            extra=document,
            kernels={},
        ).append(RECORDS / FILE)
    sys.exit(1 if document["found"] else 0)


if __name__ == "__main__":
    main()
