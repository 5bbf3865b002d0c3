"""Logs: one JSON line an event, of fields on the list, whatever somebody tries to put in."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from mpcinfer.service import logs
from mpcinfer.service.logs import (
    MOST_LETTERS,
    FieldRefusedError,
    Fields,
    LogKind,
    LogLevel,
    as_say,
    configure,
    error_fields,
    logger,
    may_be_told,
    silence,
)
from parties.errors import ConfigError, PeerTimeout
from tests.deadlines import HANG_S

ROOT = Path(__file__).resolve().parents[3]
SECRET = "zebra_quilt"


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged to a file since `configure`."""
    configure(LogKind.JSON, LogLevel.INFO, file=tmp_path / "log")
    yield lambda: [json.loads(line) for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    silence()


def test_a_line_is_an_object_that_says_when_how_bad_and_what(lines: Callable[[], list[Any]]) -> None:
    log = logger("server").bind(session="3fa1")
    log.info("session admitted", client="lab-2", tokens=7, seconds=0.5)
    log.debug("not at this level")
    as_say(log)("server: hello")
    first, second = lines()
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "event": "session admitted",
        "role": "server",
        "session": "3fa1",
        "client": "lab-2",
        "tokens": 7,
        "seconds": 0.5,
    }
    assert (second["event"], second["message"]) == ("said", "server: hello")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", SECRET),
        ("tokens", SECRET),
        ("tokens", True),
        ("message", SECRET.encode()),
        ("seconds", np.float64(2.0).reshape(1)),
        ("count", [1, 2]),
        (f"{SECRET} as a name", 1),
    ],
)
def test_what_is_not_on_the_list_is_left_out_and_named(
    lines: Callable[[], list[Any]], field: str, value: Any
) -> None:
    fields: Any = {field: value}
    logger("server").info("pass", **fields)
    [line] = lines()
    assert line["left_out"] == (field if field.isidentifier() else "?")
    assert SECRET not in json.dumps(line)


def test_strictly_it_is_an_error_that_does_not_quote_it(tmp_path: Path, lines: Callable[[], Any]) -> None:
    configure(LogKind.JSON, file=tmp_path / "log", strict=True)
    fields: Any = {"prompt": SECRET}
    with pytest.raises(FieldRefusedError, match="prompt") as refused:
        logger("server").info("pass", **fields)
    assert SECRET not in str(refused.value)


def test_values_are_cut_and_stay_on_their_line() -> None:
    told = may_be_told({"event": "x", "message": "a\r\nb\x1b[31m" + "c" * 2 * MOST_LETTERS}, strict=True)
    message = str(told["message"])
    assert message.isprintable()
    assert message.startswith("a b [31mccc")
    assert len(message) < MOST_LETTERS + 30


def test_an_error_of_a_library_tells_its_class_alone() -> None:
    assert error_fields(PeerTimeout("no word for 3 s")) == {
        "error": "PeerTimeout",
        "message": "no word for 3 s",
    }
    assert error_fields(ValueError(SECRET)) == {"error": "ValueError"}


def test_the_list_has_no_place_for_a_secret() -> None:
    assert (
        get_type_hints(Fields).keys().isdisjoint({"prompt", "answer", "text", "share", "seed", "key", "ids"})
    )
    assert {*get_type_hints(Fields).values()} == {str, int, float}


def logged_calls() -> list[tuple[str, ast.Call]]:
    """Calls of `<log>.<level>(...)` in the sources, with where they are."""
    found: list[tuple[str, ast.Call]] = []
    for path in (
        path for name in ("mpcinfer", "parties", "protocols") for path in (ROOT / name).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in set(LogLevel)
                and "log" in ast.unparse(node.func.value).lower()
            ):
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_sources_log_literals_and_fields_of_the_list() -> None:
    calls = logged_calls()
    wrong = [
        where
        for where, call in calls
        if not (len(call.args) == 1 and isinstance(call.args[0], ast.Constant))
        or not {word.arg for word in call.keywords if word.arg} <= get_type_hints(Fields).keys()
    ]
    assert wrong == []
    assert any(where.startswith("mpcinfer/service/watching.py") for where, _ in calls)


def test_a_file_is_the_users_own_and_grows(tmp_path: Path, lines: Callable[[], list[Any]]) -> None:
    file = tmp_path / "log"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    logger("server").info("first")
    configure(LogKind.JSON, file=file)
    logger("server").info("second")
    assert [line["event"] for line in lines()] == ["first", "second"]
    with pytest.raises(ConfigError, match="--log-file"):
        configure(LogKind.JSON, file=tmp_path / "nowhere" / "log")


def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch, lines: Callable[[], Any]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    monkeypatch.setattr(logs, "lost_lines", [0])
    configure(LogKind.JSON, file=full)
    logger("server").info("first")
    assert logs.lost_lines[0] > 0


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("json", '"event": "said", "role": "server", "message": "hello"'),
        ("auto", '"event": "said"'),
        ("console", "message=hello"),
        ("lines", "hello"),
    ],
)
def test_kinds_on_standard_error(kind: str, shown: str) -> None:
    program = (
        "import sys; from mpcinfer.service.logs import *\n"
        "configure(LogKind(sys.argv[1])); as_say(logger('server'))('hello'); logger('server').info('more')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, kind],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert shown in run.stderr
    assert run.stderr.count("\n") == (1 if kind == "lines" else 2)
    assert run.stdout == ""
