"""`mpcinfer chat`: a conversation in a terminal, or through a pipe."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from mpcinfer.chat import Conversation, Turn
from mpcinfer.cli import options
from mpcinfer.cli.connecting import Drafting, Local, Parties, Runner, running
from mpcinfer.cli.progress import Dealing, Stream
from mpcinfer.cli.tables import human_bytes, print_bill
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.terms import Progress
from mpcinfer.sampling import make_sampler, seeded_uniform, system_uniform
from parties.errors import ConfigError
from protocols.registry import DEFAULT_PLAN

_COMMANDS = """/bill    what the session has cost so far, by kind of operation
/reset   forget the conversation and start afresh
/help    this list
/quit    end; so does Ctrl-D. Ctrl-C ends an answer, or the chat where none is coming
A line that ends with \\ goes on in the next one."""

_NOTICES = {
    "length": "(cut off: --tokens has the longest answer)",
    "context": "(cut off: the session has no room for more; --room, or /reset)",
    "stopped": "(stopped)",
}


def chat(
    model: options.Model = "smollm2-135m-instruct",
    server: Annotated[str | None, typer.Option(help="The server's endpoint, tcp://host:port.")] = None,
    server_key: Annotated[Path | None, typer.Option(help="The server's .public file.")] = None,
    dealer: Annotated[str, typer.Option(help="The dealer's endpoint for clients.")] = "tcp://127.0.0.1:7102",
    dealer_key: Annotated[Path | None, typer.Option(help="The dealer's .public file.")] = None,
    key: Annotated[Path | None, typer.Option(help="The client's .secret file.")] = None,
    local: Annotated[
        Local | None,
        typer.Option(
            help="No server: 'plain' in float, 'fixed' in fixed point, both without privacy; 'private' "
            "starts server, dealer and client as processes on this machine."
        ),
    ] = None,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 128,
    room: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of the whole conversation.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="How the model is told to behave.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 picks the likeliest token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the likeliest tokens only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    speculate: options.Speculate = 0,
    draft_model: options.DraftModel = None,
    timeout: options.Timeout = 120.0,
) -> None:
    """Talk with a chat model that neither sees your words nor shows its weights.

    Answers stream as they come; after each, a line says what it took. The
    conversation stays in the model's KV cache, on shares, so that a turn runs
    only what is new. The server learns how many tokens each turn and each answer
    have, and nothing about which.

    [bold]While you chat[/bold]

        /bill     what the session has cost so far
        /reset    forget the conversation
        /help     all commands
        /quit     end, with the whole bill
        Ctrl-C    ends an answer; ends the chat where none is coming

    [bold]Examples[/bold]

        mpcinfer chat --local private          three processes on this machine
        mpcinfer chat --local plain            the same model without privacy
        echo "Who are you?" | mpcinfer chat --local plain
        mpcinfer chat --key keys/client.secret \\
            --server tcp://server:7100 --server-key keys/server.public \\
            --dealer tcp://dealer:7102 --dealer-key keys/dealer.public
    """
    uniform = system_uniform if seed is None else seeded_uniform(seed)
    sampler = make_sampler(temperature=temperature, top_k=top_k, uniform=uniform)
    drafting, bar = Drafting(speculate=speculate, draft_model=draft_model), _Bar()
    parties = Parties(
        server=server,
        server_key=server_key,
        dealer=dealer,
        dealer_key=dealer_key,
        material=None,
        key=key,
        timeout_s=timeout,
        insecure_dealer=False,
        on_progress=bar.show,
        room=room,
    )
    with closing(bar), running(model, local, plan, choices or [], parties) as runner:
        conversation = Conversation(
            runner,
            system=system,
            max_new_tokens=tokens,
            sampler=sampler,
            speculate=speculate,
            draft=drafting.draft(runner),
        )
        Dialogue(conversation, runner, bar).run()
        bill = runner.finish() if isinstance(runner, PrivateClient) else None
    if bill is not None:
        console = Console(stderr=True)
        console.print()
        print_bill(console, bill)


class Dialogue:
    """Reads lines until there are no more, and answers them.

    Args:
        bar: shown while the dealer is waited for.
    """

    def __init__(self, conversation: Conversation, runner: Runner, bar: _Bar) -> None:
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
        stream = Stream("")

        def shown(answer: str) -> None:
            self._bar.close()
            stream.show(answer)

        self._bar.open()
        try:
            with _CtrlC(self._say) as pressed:
                turn = self._conversation.ask(text, on_text=shown, stop=lambda: pressed.once)
        except ConfigError as error:
            self._bar.close()
            self._say(f"{error}; /reset starts afresh", style="yellow")
            return
        self._bar.close()
        stream.end()
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


class _Bar:
    """A bar for every turn, while its first token waits for the dealer."""

    def __init__(self) -> None:
        self._dealing: Dealing | None = None

    def open(self) -> None:
        """A new turn."""
        self._dealing = Dealing()

    def show(self, progress: Progress) -> None:
        """What a session tells of its dealing."""
        if self._dealing is not None:
            self._dealing.show(progress)

    def close(self) -> None:
        """The turn's first token is there; safe to repeat."""
        if self._dealing is not None:
            self._dealing.close()
