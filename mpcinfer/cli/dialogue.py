"""A conversation line by line: what is typed, what is shown, commands and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from rich.console import Console

from mpcinfer.chat import Conversation
from mpcinfer.cli.progress import Answering, TurnBar
from mpcinfer.cli.tables import human_bytes, print_bill
from mpcinfer.roles.client import PrivateClient
from mpcinfer.turn import ChatModel, Turn
from parties.errors import ConfigError

_COMMANDS = """/bill    what the session has cost so far, by kind of operation
/reset   forget the conversation and start afresh
/help    this list
/quit    end; so does Ctrl-D. Ctrl-C ends an answer, or the chat where none is coming
A line that ends with \\ goes on in the next one."""

_NOTICES = {
    "length": "(cut off: --tokens has the longest answer)",
    "context": "(cut off: the session has no room for more; --max-context, or /reset)",
    "stopped": "(stopped)",
}


class Dialogue:
    """Reads lines until there are no more, and answers them.

    Args:
        bar: shown while something is waited for.
    """

    def __init__(self, conversation: Conversation, runner: ChatModel, bar: TurnBar) -> None:
        self._conversation, self._runner, self._bar = conversation, runner, bar
        self._console = Console(stderr=True, highlight=False)
        self._commands: dict[str, Callable[[], bool]] = {
            "/bill": self._bill,
            "/reset": self._reset,
            "/help": self._help,
            "/quit": lambda: False,
        }

    def run(self) -> None:
        """The whole conversation."""
        self._bar.close()
        if sys.stdin.isatty():
            self._say("/help has the commands")
        while (line := _read()) is not None:
            text = line.strip()
            if text.startswith("/"):
                command = self._commands.get(text, lambda text=text: self._unknown(text))
                if not command():
                    return
            elif text:
                self._ask(text)

    def _ask(self, text: str) -> None:
        answering = Answering("", self._conversation.max_new_tokens)
        self._bar.open(answering)
        try:
            with _CtrlC(self._say) as pressed:
                turn = self._conversation.ask(text, on_text=answering.answer, stop=lambda: pressed.once)
        except ConfigError as error:
            self._bar.close()
            self._say(f"{error}; /reset starts afresh", style="yellow")
            return
        answering.end()
        if turn.reason in _NOTICES:
            self._say(_NOTICES[turn.reason])
        self._say(summary(turn))

    def _bill(self) -> bool:
        if isinstance(self._runner, PrivateClient):
            print_bill(self._console, self._runner.bill_so_far())
        else:
            self._say("no bill: this model runs in the clear, on this machine alone")
        return True

    def _reset(self) -> bool:
        self._conversation.forget()
        self._say("forgotten")
        return True

    def _help(self) -> bool:
        self._say(_COMMANDS)
        return True

    def _unknown(self, text: str) -> bool:
        name = text.split(maxsplit=1)[0]
        self._say(f"no command {name}; there are {', '.join(self._commands)}", style="yellow")
        return True

    def _say(self, text: str, style: str = "dim") -> None:
        self._console.print(text, style=style, soft_wrap=True, markup=False)


def summary(turn: Turn) -> str:
    """One line on what a turn took."""
    parts = [f"{turn.new_tokens} token{'' if turn.new_tokens == 1 else 's'}"]
    if turn.new_tokens > 1:
        parts.append(f"{turn.later_s / (turn.new_tokens - 1):.2f} s/token")
    parts.append(f"first after {turn.first_s:.2f} s")
    if turn.speculation is not None:
        parts.append(f"{turn.speculation.accepted} of {turn.speculation.drafted} drafts right")
    if turn.cost is None:
        return " · ".join([*parts, "in the clear"])
    cost = turn.cost
    offline = cost.offline_bytes_to_server + cost.offline_bytes_to_client
    online = (human_bytes(cost.online_bytes_to_server), human_bytes(cost.online_bytes_to_client))
    sent = f"{online[0]} sent, {online[1]} received, {human_bytes(offline)} offline"
    return " · ".join([*parts, f"{cost.rounds:,} rounds", sent])


def _read() -> str | None:
    """The next message; None at the end of input, or where somebody ends it by Ctrl-C."""
    lines: list[str] = []
    try:
        while not lines or lines[-1].endswith("\\"):
            lines.append(_line("> " if not lines else "… "))
    except EOFError:
        if not lines:
            return None
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return None
    return "\n".join(line.removesuffix("\\") for line in lines)


def _line(prompt: str) -> str:
    """One line; a terminal gets a prompt, and with readline the lines before it to edit."""
    if sys.stdin.isatty():
        _enable_editing()
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _enable_editing() -> None:
    """Importing readline is enough for `input`; not every Python has it."""
    try:
        import readline  # noqa: F401 # pyright: ignore[reportUnusedImport]
    except ImportError:
        return


class _CtrlC:
    """While an answer comes, the first Ctrl-C asks it to end after the token at hand; the second ends all."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before: Any = None
        self.once = False

    def __enter__(self) -> _CtrlC:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self.once:
            raise KeyboardInterrupt
        self.once = True
        self._say("\n(ends after this token; Ctrl-C again ends the chat at once)")
