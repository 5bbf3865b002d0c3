"""What 1,000 private chats at once take: cores, traffic, correlations, disk, euros.

    python -m bench.scaling
    python -m bench.scaling --chats 200 --prompt 32 --answer 32 --period 30 --core-hour 0.03

Bytes are counted, exactly, by `mpcinfer cost`. Core seconds are measured, by the records of `python -m
bench.load`: so many a session, which is the start of its workers, and so many a token, fitted to loads with
short and with long answers. Where a model has no records, a token takes what it takes another model, times
how many more bytes of correlations it has, and that is said. How chats behave and what things cost are
assumptions, all of them options.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.markdown import table
from bench.records import RECORDS
from mpcinfer.costs import cost
from mpcinfer.models.load import load_config

FILE, WORKERS = "load.jsonl", (1, 2)
_THROUGHPUT_TOKENS = 8
MODELS = ("tiny-python", "smollm2-135m-instruct")
_HOURS_A_MONTH = 730.0
_MOST_CONTEXT = 1024
_ROLES = {"server": "server front", "dealer": "dealer front", "client": "clients"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What nobody here measured.

    Attributes:
        chats: at once.
        prompt, answer: tokens of a turn.
        period: seconds from one turn of a chat to its next.
        turns: of a session, which pays for masked weights once.
        stock: minutes of correlations that are dealt ahead and lie on disk.
        core_hour: euros an hour of a core.
        traffic_gb: euros a GB that leaves a machine.
        disk_gb_month: euros a GB and month of disk.
    """

    chats: int = 1000
    prompt: int = 64
    answer: int = 64
    period: float = 60.0
    turns: int = 10
    stock: float = 10.0
    core_hour: float = 0.04
    traffic_gb: float = 0.02
    disk_gb_month: float = 0.08


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, counted: bytes. It is a chat's first; later ones see more tokens and take a little more.

    Attributes:
        online: both ways.
        to_server, to_client: correlations, which the dealer sends.
        setup: masked weights, once a session.
    """

    online: int
    to_server: int
    to_client: int
    setup: int

    @property
    def dealt(self) -> int:
        """Correlations of both parties."""
        return self.to_server + self.to_client


@dataclass(frozen=True, slots=True)
class CoreSeconds:
    """By role.

    Attributes:
        session: of a session whatever it runs.
        token: of a token, of prompts and answers alike.
        of: the model that was measured.
        factor: what those of a token were multiplied with: 1 where it is the model itself.
    """

    session: dict[str, float]
    token: dict[str, float]
    of: str
    factor: float


@dataclass(frozen=True, slots=True)
class Needs:
    """Of all chats together: cores; GB a second; GB; euros an hour."""

    cores: dict[str, float]
    online: float
    correlations: float
    setup: float
    disk: float
    euros: dict[str, float]


@lru_cache(maxsize=64)
def turn(model: str, prompt: int, answer: int) -> Turn:
    """A turn's bytes in a session of the usual size."""
    room = min(_MOST_CONTEXT, load_config(model).context)
    total = cost(model, tokens=prompt, new_tokens=answer, plan="fss", max_context=room).total
    return Turn(
        online=total.online_bytes_to_server + total.online_bytes_to_client,
        to_server=total.offline_bytes_to_server,
        to_client=total.offline_bytes_to_client,
        setup=total.setup_bytes,
    )


def records(**where: Any) -> list[dict[str, Any]]:
    """Loads of which all sessions went well, newest first; `where` is of `extra`."""
    path = RECORDS / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in reversed(lines)]
    return [each for each in found if _went_well(each["extra"]) and where.items() <= each["extra"].items()]


def _went_well(found: dict[str, Any]) -> bool:
    return found["right"] + found.get("tied", 0) == found["sessions"]


def core_seconds(model: str) -> CoreSeconds | None:
    """From the loads of that model, or of another one; None where there are not two of different lengths."""
    known = records()
    of_model = [each for each in known if each["model"] == model] or known
    loads = [each["extra"] for each in of_model if each["model"] == of_model[0]["model"]]
    if len({each["tokens_run"] / each["sessions"] for each in loads}) < 2:
        return None
    other = str(of_model[0]["model"])
    factor = turn(model, 64, 64).dealt / turn(other, 64, 64).dealt if model != other else 1.0
    work = np.array([[each["sessions"], each["tokens_run"]] for each in loads], float)
    session, token = dict[str, float](), dict[str, float]()
    for role, name in _ROLES.items():
        took = np.array([each["core_s"].get(name, 0.0) for each in loads])
        fitted, *_ = np.linalg.lstsq(work, took, rcond=None)
        session[role], token[role] = max(float(fitted[0]), 0.0), max(float(fitted[1]), 0.0) * factor
    return CoreSeconds(session, token, other, factor)


def needs(one: Turn, taken: CoreSeconds, assumed: Assumed) -> Needs:
    """All chats' together."""
    turns_s = assumed.chats / assumed.period
    tokens_s = turns_s * (assumed.prompt + assumed.answer)
    sessions_s = turns_s / assumed.turns
    cores = {role: tokens_s * taken.token[role] + sessions_s * taken.session[role] for role in _ROLES}
    online, dealt = turns_s * one.online / 1e9, turns_s * one.dealt / 1e9
    setup = turns_s * one.setup / assumed.turns / 1e9
    disk = dealt * 60 * assumed.stock
    euros = {
        "cores": (cores["server"] + cores["dealer"]) * assumed.core_hour,
        "traffic": (online + dealt + setup) * 3600 * assumed.traffic_gb,
        "disk": disk * assumed.disk_gb_month / _HOURS_A_MONTH,
    }
    return Needs(cores, online, dealt, setup, disk, euros)


def _rows(rows: dict[str, Callable[[str], str]], models: tuple[str, ...] = MODELS, first: str = "") -> str:
    header = [first, *(f"`{model}`" for model in models)]
    return table(header, [[name, *(make(model) for model in models)] for name, make in rows.items()])


def counted_table(assumed: Assumed | None = None) -> str:
    """Bytes of a turn."""
    known = assumed or Assumed()

    def size(get: Callable[[Turn], int]) -> Callable[[str], str]:
        return lambda model: f"{get(turn(model, known.prompt, known.answer)) / 1e6:,.1f} MB"

    return _rows(
        {
            "online, both ways": size(lambda one: one.online),
            "correlations, to the server": size(lambda one: one.to_server),
            "correlations, to the client": size(lambda one: one.to_client),
            "masked weights, once a session": size(lambda one: one.setup),
        },
        first=f"counted: a turn of {known.prompt} and {known.answer} tokens",
    )


def throughput_table() -> str:
    """The newest load of every number of workers, of answers of `_THROUGHPUT_TOKENS`."""
    rows: list[list[str]] = []
    for workers in WORKERS:
        found = [each for each in records(at_once=workers) if each["tokens"] == _THROUGHPUT_TOKENS]
        if found:
            extra, newest = found[0]["extra"], found[0]
            latency = extra["latency"]
            rows.append(
                [
                    f"{workers} worker{'s'[: workers - 1]}, "
                    f"{extra['sessions']} sessions of {newest['tokens']} tokens",
                    f"{extra['sessions_a_minute']:.1f}",
                    f"{extra['tokens_a_second']:.2f}",
                    *(f"{latency[name]['p50']:.1f} s" for name in ("first token", "session")),
                    f"{extra['memory']['together'] / 1e6:,.0f} MB",
                    newest["date"],
                ]
            )
    header = [
        "measured",
        "sessions a minute",
        "new tokens a second",
        "first token",
        "session",
        "memory",
        "on",
    ]
    return table(header, rows)


def needs_table(assumed: Assumed | None = None) -> str:
    """Of all chats."""
    known = assumed or Assumed()

    def of(model: str) -> tuple[CoreSeconds, Needs]:
        taken = core_seconds(model)
        assert taken is not None, f"{FILE}: run python -m bench.load with two numbers of --tokens first"
        return taken, needs(turn(model, known.prompt, known.answer), taken, known)

    def show(get: Callable[[Needs], float], unit: str) -> Callable[[str], str]:
        return lambda model: f"{get(of(model)[1]):,.3g} {unit}"

    def basis(model: str) -> str:
        taken = of(model)[0]
        return "measured" if taken.factor == 1 else f"{taken.factor:,.0f} times `{taken.of}`"

    def seconds(part: str) -> Callable[[str], str]:
        return lambda model: ", ".join(f"{each:.3g}" for each in getattr(of(model)[0], part).values())

    return _rows(
        {
            "core seconds of a token": basis,
            "server, dealer, client, a token": seconds("token"),
            "the same, a session": seconds("session"),
            "cores, server": show(lambda each: each.cores["server"], ""),
            "cores, dealer": show(lambda each: each.cores["dealer"], ""),
            "cores, all clients": show(lambda each: each.cores["client"], ""),
            "online": show(lambda each: each.online, "GB/s"),
            "correlations": show(lambda each: each.correlations, "GB/s"),
            "masked weights": show(lambda each: each.setup, "GB/s"),
            f"disk for {known.stock:g} minutes ahead": show(lambda each: each.disk, "GB"),
            "cores of server and dealer": show(lambda each: each.euros["cores"], "euros/h"),
            "traffic": show(lambda each: each.euros["traffic"], "euros/h"),
            "disk": show(lambda each: each.euros["disk"], "euros/h"),
            "together": show(lambda each: sum(each.euros.values()), "euros/h"),
        },
        first=f"{known.chats:,} chats, a turn every {known.period:g} s",
    )


def assumed_table(assumed: Assumed | None = None) -> str:
    """What is assumed."""
    known = assumed or Assumed()
    return table(
        ["assumed", ""],
        [
            ["chats at once", f"{known.chats:,}"],
            ["a turn of each", f"{known.prompt} tokens of prompt, {known.answer} of answer"],
            ["time from turn to turn", f"{known.period:g} s"],
            ["turns of a session", f"{known.turns}"],
            ["correlations dealt ahead", f"{known.stock:g} minutes"],
            ["a core", f"{known.core_hour:g} euros an hour"],
            ["traffic", f"{known.traffic_gb:g} euros a GB"],
            ["disk", f"{known.disk_gb_month:g} euros a GB and month"],
        ],
    )


TABLES = {
    "throughput": throughput_table,
    "assumed": assumed_table,
    "a turn": counted_table,
    "chats": needs_table,
}


def main() -> None:
    """Command line: one option for everything that is assumed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for each in dataclasses.fields(Assumed):
        name = "--" + each.name.replace("_", "-")
        parser.add_argument(name, type=type(each.default), default=each.default)
    assumed = Assumed(**vars(parser.parse_args()))
    for make in (assumed_table, counted_table, needs_table):
        print(make(assumed), end="\n\n")


if __name__ == "__main__":
    main()
