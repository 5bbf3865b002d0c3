"""The tables of docs/peers.md and docs/published.md, and the short one of README.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.markdown import megabytes, table
from bench.peers.tasks import TASKS
from bench.records import RECORDS
from mpcinfer.benchmark.published import Published, published
from mpcinfer.benchmark.record import BenchRecord, read_records

NETWORKS = ("loopback", "lan-1g", "wan-400m")
OURS = "mpcinfer-fss"
CLEAR = "clear-torch"
NAMES = {
    OURS: "mpcinfer, `fss`",
    "mpcinfer-crypten": "mpcinfer, `crypten`",
    "mpcinfer-two-party": "mpcinfer, `two-party`",
    "crypten": "CrypTen 0.4.1",
    "spu-semi2k": "SPU 0.9.5, semi2k",
    "spu-cheetah": "SPU 0.9.5, cheetah",
    CLEAR: "in the clear, torch",
}
TRUST = {
    OURS: "dealer",
    "mpcinfer-crypten": "dealer",
    "mpcinfer-two-party": "two parties",
    "crypten": "INSECURE: the server deals",
    "spu-semi2k": "INSECURE: the server deals",
    "spu-cheetah": "two parties",
    CLEAR: "no privacy",
}
Latest = dict[tuple[str, str, str], BenchRecord]


def latest() -> Latest:
    """The newest record of each network, case and system."""
    path = RECORDS / "peers.jsonl"
    records = read_records([path]) if path.exists() else ()
    return {(each.network, each.case, each.system): each for each in records}


def online_bytes(record: BenchRecord) -> int:
    """Both directions together."""
    return record.bill["online_bytes_to_server"] + record.bill["online_bytes_to_client"]


def _offline_bytes(record: BenchRecord) -> int:
    return record.bill["offline_bytes_to_server"] + record.bill["offline_bytes_to_client"]


def _row(record: BenchRecord) -> list[str]:
    head = [TASKS[record.case].title, NAMES[record.system], TRUST[record.system]]
    if record.failed:
        return [*head, "failed", "", "", "", ""]
    offline, rounds = _offline_bytes(record), record.bill["rounds"]
    return [
        *head,
        megabytes(online_bytes(record)),
        "" if rounds is None else str(rounds),
        megabytes(offline) if offline else "",
        f"{statistics.median(record.seconds):.3g} s",
        f"{record.error['max']:.1g}",
    ]


def network_table(network: str) -> str:
    """All cases and systems on a network."""
    found = latest()
    keys = [(network, case, system) for case in TASKS for system in NAMES]
    rows = [_row(found[key]) for key in keys if key in found]
    header = ["case", "system", "trust", "online, both ways", "rounds", "offline", "online", "largest error"]
    if not rows:
        return "Not measured yet."
    failures = [
        f"* {TASKS[found[key].case].title}, {NAMES[key[2]]}: {found[key].failed}"
        for key in keys
        if key in found and found[key].failed
    ]
    machines = sorted({found[key].machine for key in keys if key in found})
    repeats = sorted({len(found[key].seconds) for key in keys if key in found and not found[key].failed})
    note = f"Medians of {' or '.join(map(str, repeats))}, {'; '.join(machines)}."
    return "\n\n".join([table(header, rows, left=("system", "trust")), note, *failures])


def verdict() -> str:
    """Where ours has fewer bytes and seconds than every peer that keeps the input secret, and where not."""
    found = latest()
    compared = [(n, c, s) for n, c, s in found if s not in (OURS, CLEAR, "mpcinfer-crypten")]
    exceptions: list[str] = []
    count = 0
    for network, case, system in sorted(compared, key=_order):
        ours, theirs = found.get((network, case, OURS)), found[network, case, system]
        if ours is None or ours.failed or theirs.failed:
            continue
        count += 1
        where = f"{TASKS[case].title} on {network}, {NAMES[system]}"
        if online_bytes(ours) >= online_bytes(theirs):
            exceptions.append(f"* {where}: not fewer bytes")
        mine, its = (statistics.median(each.seconds) for each in (ours, theirs))
        if mine >= its:
            exceptions.append(f"* {where}: {mine:.2g} s against {its:.2g} s")
    if not count:
        return "Not measured yet."
    said = f"`fss` against a peer, {count} comparisons: fewer bytes and fewer seconds online in all"
    return "\n".join([said + (" but:" if exceptions else "."), *([""] if exceptions else []), *exceptions])


def _order(key: tuple[str, str, str]) -> tuple[int, int, int]:
    network, case, system = key
    return NETWORKS.index(network), list(TASKS).index(case), list(NAMES).index(system)


def short_table() -> str:
    """Blocks alone: bytes, and seconds on every network."""
    found = latest()
    rows: list[list[str]] = []
    for case in ("block", "softmax-block"):
        for system, name in NAMES.items():
            on = [found.get((network, case, system)) for network in NETWORKS]
            measured = [each for each in on if each is not None and not each.failed]
            if not measured or system == CLEAR:
                continue
            rounds = measured[0].bill["rounds"]
            seconds = [
                "" if each is None or each.failed else f"{statistics.median(each.seconds):.3g} s"
                for each in on
            ]
            amount = megabytes(online_bytes(measured[0]))
            rows.append(
                [
                    TASKS[case].title,
                    name,
                    TRUST[system],
                    amount,
                    "" if rounds is None else str(rounds),
                    *seconds,
                ]
            )
    header = ["case", "system", "trust", "online, both ways", "rounds", *NETWORKS]
    return table(header, rows, left=("system", "trust")) if rows else "Not measured yet."


def published_table() -> str:
    """Figures of publications."""
    header = ["work", "system", "online", "rounds", "offline, both parties", "seconds"]
    rows = [[each.work, each.system, *_amounts(each)] for each in published()]
    return table(header, rows, left=("system",))


def conditions_table() -> str:
    """What is behind each figure."""
    header = ["work", "system", "trust", "hardware", "network", "counted", "left out", "source"]
    rows = [
        [
            each.work,
            each.system,
            each.trust,
            each.hardware,
            each.network,
            each.counted,
            each.left_out,
            each.source,
        ]
        for each in published()
    ]
    return table(header, rows, left=header)


def _amounts(row: Published) -> list[str]:
    seconds = "" if row.seconds is None else " to ".join(f"{each:g}" for each in row.seconds)
    return [
        _gigabytes(row.online_bytes),
        "" if row.rounds is None else f"{row.rounds:,}",
        _gigabytes(row.offline_bytes),
        seconds,
    ]


def _gigabytes(count: float | None) -> str:
    return "" if count is None else f"{count / 1e9:.3g} GB"


PEER_TABLES: dict[str, Callable[[], str]] = {
    "peers, in short": short_table,
    "peers, verdict": verdict,
    **{f"peers on {network}": lambda network=network: network_table(network) for network in NETWORKS},
}
PUBLISHED_TABLES: dict[str, Callable[[], str]] = {
    "published": published_table,
    "published, conditions": conditions_table,
}
