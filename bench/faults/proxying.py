"""kill -9 of the proxy between a program and the service."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.faults.commands import Command
from bench.faults.killing import moment_s
from bench.faults.outcome import EXACT, NotSurvived
from bench.faults.place import Place
from bench.faults.service import BOUND_S, until


@dataclass
class Asked:
    """A request to a proxy, made in a thread of its own.

    Attributes:
        text: the answer; empty where there was none.
        error: the name of what ended the request otherwise.
    """

    port: int
    token: str
    text: str = ""
    error: str = ""
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def ended(self) -> None:
        """Waits for its end; raises NotSurvived where it hangs, or the proxy refused it."""
        self.thread.join(BOUND_S)
        if self.thread.is_alive():
            raise NotSurvived(f"a request to the proxy hung for {BOUND_S:g} s")
        if self.error.startswith("HTTP"):
            raise NotSurvived(f"a request to the proxy: {self.error}")

    def _ask(self) -> None:
        body = json.dumps({"model": "remote", "prompt": "for", "max_tokens": 4, "temperature": 0})
        head = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)
            connection.request("POST", "/v1/completions", body, head)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            if answer.status == 200:
                self.text = said["choices"][0]["text"]
            else:
                self.error = f"HTTP {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            self.error = type(error).__name__


def kill_proxy(place: Place, draw: np.random.Generator) -> str:
    """The proxy, at a moment between its start and the end of an answer; then another proxy answers."""
    proxy, token = _start(place)
    asked: list[Asked] = []
    until_s = time.monotonic() + moment_s(place, draw)
    while time.monotonic() < until_s:
        if not asked and _is_up(proxy):
            asked.append(Asked(place.service.ports["proxy"], token.read_text().strip()))
        time.sleep(0.01)
    if not asked:  # nobody listens yet: whoever asks is refused
        asked.append(Asked(place.service.ports["proxy"], "none"))
    up = _is_up(proxy)
    proxy.send(signal.SIGKILL)
    place.commands.ended(proxy, BOUND_S)
    asked[0].ended()
    if not asked[0].error and asked[0].text != place.expected_text:
        raise NotSurvived(f"the proxy answered {asked[0].text!r}")
    _require_answer(place)
    return f"proxy {'up' if up else 'starting'}: {asked[0].error or 'answered'}"


def _require_answer(place: Place) -> None:
    """A proxy that starts now answers, ends when it is told to, and was billed exactly."""
    proxy, token = _start(place)
    until("the proxy to be up", lambda: _is_up(proxy) or place.commands.ended(proxy, 0.01))
    asked = Asked(place.service.ports["proxy"], token.read_text().strip())
    asked.ended()
    proxy.send(signal.SIGINT)
    if not place.commands.ended(proxy, BOUND_S):
        raise NotSurvived("the proxy did not end")
    said = " ".join(proxy.err.read_text().split())
    if asked.text != place.expected_text or EXACT not in said:
        raise NotSurvived(f"the next proxy: {asked.text!r}, {asked.error}, {said[-300:]!r}")


def _start(place: Place) -> tuple[Command, Path]:
    """A proxy, and the file of its token."""
    service = place.service
    token = service.folder / "proxy.token"
    words = ["proxy", "--port", str(service.ports["proxy"]), "--token-file", str(token)]
    return place.commands.start(*words, *service.where_words(60.0)), token


def _is_up(proxy: Command) -> bool:
    with suppress(OSError):
        return "Ctrl-C" in proxy.err.read_text(errors="replace")
    return False
