"""One client with many sessions at once: `python -m bench.load.asking`, started by `bench.load.run` alone.

A process a client and a thread a session. Standard input has one line, the job; output has a line when the
process is ready, one for every session that is over, and at last one with its core seconds. Nothing is asked
for before the input's second line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mpcinfer.models.load import load_public
from mpcinfer.models.public import PublicModel
from mpcinfer.plans import plan_from
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.connect import connect_client
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.suites.registry import suite_of
from parties.errors import AdmissionRefused, MpcInferError
from parties.keys import load_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one client is to do.

    Attributes:
        client: its name on the allow list.
        key: its .secret file.
        server, dealer: endpoint and public key; None for a plan without a dealer.
        model, plan: of all sessions.
        tokens: new ones of every answer.
        prompts: one a session, by the session's number.
        timeout_s: longest silence of a peer.
        patience_s: longest wait in a queue.
    """

    client: str
    key: str
    server: tuple[str, str]
    dealer: tuple[str, str] | None
    model: str
    plan: str
    tokens: int
    prompts: dict[str, str]
    timeout_s: float
    patience_s: float

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Job:
        """As JSON has it."""
        dealer = document["dealer"]
        fixed = {"server": tuple(document["server"]), "dealer": None if dealer is None else tuple(dealer)}
        return cls(**{**document, **fixed})


@dataclass(slots=True, kw_only=True)
class Asked:
    """One session, as its client saw it. Times are seconds on the machine's monotonic clock.

    Attributes:
        number, client: of the session.
        places: in the queue, as they were told, the first and the last of a run of equal ones.
        asked_s: when it was asked for.
        opened_s: when handshakes and masked weights were through, and prompts could be run.
        first_s: when the first token was there.
        over_s: when the bill was confirmed.
        ids: the answer's tokens.
        reason: why the answer ended.
        context: tokens that the session had room for.
        bill: totals.
        kernel: the note on what the kernel counted.
        unused: notes on what was dealt in vain.
        refused: reasons of refusals after which it asked again, when it was told to.
        error: where it failed.
    """

    number: int
    client: str
    asked_s: float
    places: list[int] = field(default_factory=list[int])
    opened_s: float = 0.0
    first_s: float = 0.0
    over_s: float = 0.0
    ids: list[int] = field(default_factory=list[int])
    reason: str = ""
    context: int = 0
    bill: dict[str, int] = field(default_factory=dict[str, int])
    kernel: str = ""
    unused: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    error: str = ""

    def waits(self, place: int) -> None:
        """Takes a place in the queue."""
        if not self.places or self.places[-1] != place:
            self.places.append(place)


class _Client:
    """All sessions of a job."""

    def __init__(self, job: Job) -> None:
        self.job, self.plan, self.public = job, plan_from(job.plan, []), load_public(job.model)
        self._keys = load_secret(Path(job.key))
        suite_of(self.plan).load()
        self._printing = threading.Lock()

    def run(self) -> None:
        """Asks for all at once."""
        prompts = self.job.prompts
        with ThreadPoolExecutor(max(len(prompts), 1)) as pool:
            list(pool.map(self._session, (int(number) for number in prompts)))

    def say(self, document: dict[str, Any]) -> None:
        """A line of output, whole."""
        with self._printing:
            print(json.dumps(document), flush=True)

    def _session(self, number: int) -> None:
        asked = Asked(number=number, client=self.job.client, asked_s=time.monotonic())
        try:
            while not self._conversed(asked):
                pass
        except MpcInferError as error:
            asked.error, asked.over_s = f"{type(error).__name__}: {error}", time.monotonic()
        self.say({"session": asdict(asked)})

    def _conversed(self, asked: Asked) -> bool:
        """Has the session, or waits as a refusal says and returns False, as long as there is patience."""
        try:
            self._converse(asked)
        except AdmissionRefused as refused:
            if refused.retry_s is None or time.monotonic() - asked.asked_s > self.job.patience_s:
                raise
            asked.refused.append(refused.reason)
            time.sleep(refused.retry_s)
            return False
        return True

    def _converse(self, asked: Asked) -> None:
        """One session with one answer."""
        job = self.job
        prompt = job.prompts[str(asked.number)]

        def of(public: PublicModel) -> str:
            return prompt

        def queued(progress: Progress) -> None:
            if progress.stage is Stage.QUEUED:
                asked.waits(int(progress.detail.split()[-1]))

        def told(text: str) -> None:
            asked.first_s = asked.first_s or time.monotonic()

        with connect_client(
            self.public,
            self.plan,
            keys=self._keys,
            server=Address(*job.server),
            dealer=None if job.dealer is None else Address(*job.dealer),
            prompt=of,
            timeout_s=job.timeout_s,
            patience_s=job.patience_s,
            on_progress=queued,
        ) as client:
            asked.opened_s, asked.context = time.monotonic(), client.max_context
            answer = client.complete(prompt, max_new_tokens=job.tokens, on_text=told)
            self._billed(asked, client)
        asked.over_s, asked.ids, asked.reason = time.monotonic(), list(answer.ids), answer.reason

    def _billed(self, asked: Asked, client: PrivateClient) -> None:
        bill = client.finish()
        asked.bill = asdict(bill.total)
        asked.kernel = next((note for note in bill.notes if note.startswith("the kernel")), "")
        asked.unused = [note for note in bill.notes if "never run" in note]


def main() -> None:
    """Reads the job, gets ready, waits for the word, and asks."""
    torch.set_num_threads(1)  # as many threads ask as there are sessions
    client = _Client(Job.from_document(json.loads(sys.stdin.readline())))
    client.say({"ready": client.job.client})
    if sys.stdin.readline():
        started = time.process_time()
        client.run()
        client.say({"core_s": time.process_time() - started})


if __name__ == "__main__":
    main()
