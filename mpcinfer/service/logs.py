"""Structured logs: an event a line, made of fields that may be told.

What may be told is a list, `Fields`. A prompt, an answer, a share, a seed or a key is not on it: there is no
field to put one in. Types say so before anything runs (an event is a literal, a field is on the list); while
it runs every field is looked at again, and what is not on the list is left out and named under `left_out`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, LiteralString, TextIO, TypedDict, Unpack, cast, get_type_hints

from parties.errors import ConfigError, MpcInferError

MOST_LETTERS = 400
"""Of one value: longer ones are cut."""
_MARK = "left_out"
_FIRST = {"time": 0, "level": 1, "event": 2, "role": 3}
_NAME = re.compile(r"[a-z_]{1,40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Fields(TypedDict, total=False):
    """Everything a line may say besides its time, level and event.

    Texts are names and messages of this program. What a peer sent is in none of them, but in the errors of
    `parties.errors`, which name expected and got and no secret.
    """

    role: str
    """server, dealer, worker or proxy"""
    session: str
    """the first digits of a session's public id"""
    client: str
    """a client's name on the allow list, never its key"""
    pid: int
    """a process"""
    endpoint: str
    """tcp://host:port"""
    model: str
    """a model's name"""
    plan: str
    """a plan's name"""
    digest: str
    """of the model's public part"""
    version: str
    """of this program"""
    state: str
    """starting, serving or draining"""
    reason: str
    """why a session was refused, a word of a fixed list"""
    retry_seconds: float
    """when a refused client may come again"""
    place: int
    """in the queue"""
    waiting: int
    """sessions in the queue"""
    running: int
    """sessions at hand"""
    ready: int
    """workers, or sessions dealt ahead, that wait for a client"""
    tokens: int
    """of the passes so far; the server knows how many, never which"""
    passes: int
    """evaluations of the model"""
    rounds: int
    """dependent exchanges online"""
    online_bytes_to_server: int
    """payload of the online phase"""
    online_bytes_to_client: int
    """payload of the online phase"""
    offline_bytes_to_server: int
    """correlated randomness"""
    offline_bytes_to_client: int
    """correlated randomness"""
    wire_bytes_to_server: int
    """all phases, with framing and encryption"""
    wire_bytes_to_client: int
    """all phases, with framing and encryption"""
    bytes: int
    """of a file, a folder or memory"""
    seconds: float
    """how long it took"""
    count: int
    """of whatever the event names"""
    file: str
    """a path on this machine"""
    status: int
    """with which a process ended"""
    error: str
    """class of an error"""
    message: str
    """of an error of `parties.errors`, or a line for people"""


class LogKind(StrEnum):
    """How lines look."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"
    LINES = "lines"


class LogLevel(StrEnum):
    """What is logged: this and what is worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class FieldRefusedError(ConfigError):
    """A line had a field that may not be told; raised under `strict` alone."""


class Log:
    """Where a part of the service says what happens; made by `logger`, safe for any thread.

    An event is a literal of the source: what differs from time to time goes into fields.
    """

    def __init__(self, write: Callable[[str, str, dict[str, object]], None], bound: Fields) -> None:
        self._write, self._bound = write, bound

    def bind(self, **fields: Unpack[Fields]) -> Log:
        """A log whose every line has these fields, too."""
        return Log(self._write, cast("Fields", {**self._bound, **fields}))

    def debug(self, event: LiteralString, **fields: Unpack[Fields]) -> None:
        """What somebody who looks for a fault wants to know."""
        self._write("debug", event, {**self._bound, **fields})

    def info(self, event: LiteralString, **fields: Unpack[Fields]) -> None:
        """What happens in the course of things."""
        self._write("info", event, {**self._bound, **fields})

    def warning(self, event: LiteralString, **fields: Unpack[Fields]) -> None:
        """What went wrong and is mended, or ended one session."""
        self._write("warning", event, {**self._bound, **fields})

    def error(self, event: LiteralString, **fields: Unpack[Fields]) -> None:
        """What somebody has to mend."""
        self._write("error", event, {**self._bound, **fields})


def logger(role: str) -> Log:
    """The log of a part of the service; lines go where `configure` last said, also for logs made before."""
    return Log(_write, {}).bind(role=role)


def as_say(log: Log) -> Callable[[str], None]:
    """Takes lines that roles say to people, as events of their own."""
    return lambda line: log.info("said", message=line)


def error_fields(error: BaseException) -> Fields:
    """What may be told of an error.

    Messages of our own errors name no secret. Those of libraries can quote what they were given, so of these
    only the class is told.
    """
    if isinstance(error, MpcInferError):
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": type(error).__name__}


def configure(
    kind: LogKind = LogKind.AUTO,
    level: LogLevel = LogLevel.INFO,
    *,
    file: Path | None = None,
    strict: bool = False,
) -> None:
    """Says where lines go and how they look, for the whole process. Without it nothing is logged.

    Args:
        kind: JSON, an object a line; CONSOLE, for people; LINES, messages alone; AUTO, CONSOLE on a terminal
            and JSON elsewhere.
        file: instead of standard error; lines are added at its end. It is made with mode 0600.
        strict: a field that may not be told is an error instead of being left out.

    Raises:
        ConfigError: the file cannot be opened, or a library is missing.
    """
    stream = sys.stderr if file is None else _opened(file)
    silence()
    if file is not None:
        _files.append(stream)
    if kind is LogKind.AUTO:
        kind = LogKind.CONSOLE if stream.isatty() else LogKind.JSON
    global _write_line  # noqa: PLW0603 - a process has one log
    _write_line = _to_lines(stream, level) if kind is LogKind.LINES else _to_structlog(stream, kind, level)
    _strict[0] = strict


def silence() -> None:
    """Logs nothing from now on, and closes the file; safe to repeat."""
    global _write_line  # noqa: PLW0603 - a process has one log
    _write_line = None
    while _files:
        with suppress(OSError):
            _files.pop().close()


def _to_structlog(stream: TextIO, kind: LogKind, level: LogLevel) -> Callable[[str, dict[str, Any]], None]:
    if importlib.util.find_spec("structlog") is None:
        raise ConfigError("structlog is missing: pip install structlog; or take --log lines")
    import structlog

    last: Any = (
        structlog.processors.JSONRenderer()
        if kind is LogKind.JSON
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
    )
    bound: Any = structlog.wrap_logger(
        structlog.WriteLogger(_Patient(stream)),  # type: ignore[arg-type]  # it writes and flushes
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.add_log_level,
            _ordered,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.value),
        cache_logger_on_first_use=True,
    )
    return lambda method, told: getattr(bound, method)(told.pop("event"), **told)


def _ordered(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """When, how bad and what, before everything else."""
    return {name: fields[name] for name in sorted(fields, key=lambda name: _FIRST.get(name, len(_FIRST)))}


def _to_lines(stream: TextIO, level: LogLevel) -> Callable[[str, dict[str, Any]], None]:
    """Lines of roles as they are, without a library; other events are left to the other kinds."""
    order, patient = list(LogLevel), _Patient(stream)

    def write(method: str, told: dict[str, Any]) -> None:
        if order.index(LogLevel(method)) >= order.index(level) and told["event"] == "said":
            patient.write(f"{told.get('message', '')}\n")
            patient.flush()

    return write


_write_line: Callable[[str, dict[str, Any]], None] | None = None
_strict = [False]
_files: list[TextIO] = []


def _write(method: str, event: str, fields: dict[str, object]) -> None:
    if _write_line is not None:
        _write_line(method, dict(may_be_told({"event": event, **fields}, strict=_strict[0])))


def may_be_told(fields: MutableMapping[str, object], *, strict: bool) -> MutableMapping[str, object]:
    """Only the fields of the list, with values of their types, cut, on one line.

    Raises:
        FieldRefusedError: under `strict`, a field that is not; the message has its name and never its value.
    """
    told: dict[str, object] = {}
    refused: list[str] = []
    for name, value in fields.items():
        kind = _KINDS.get(name)
        fits = isinstance(value, (int, float)) if kind is float else kind is not None and type(value) is kind
        if not fits or isinstance(value, bool):
            refused.append(name if _NAME.fullmatch(name) else "?")
        else:
            told[name] = _cut(value) if isinstance(value, str) else value
    if refused and strict:
        raise FieldRefusedError(f"no field of a log, or of another type: {', '.join(sorted(refused))}")
    if refused:
        told[_MARK] = _cut(", ".join(sorted(refused)))
    return told


def _cut(text: str) -> str:
    line = _CONTROL.sub(" ", text)
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}... ({len(line):,} letters)"


_KINDS: dict[str, type] = {"event": str, **get_type_hints(Fields)}


class _Patient:
    """A stream whose troubles end nobody's session: lines that cannot be written are counted and lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            lost_lines[0] += 1
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            lost_lines[0] += 1


lost_lines = [0]
"""How many lines this process could not write: its log is closed, or the disk is full."""


def _opened(file: Path) -> TextIO:
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--log-file {file}: {error.strerror}") from error
