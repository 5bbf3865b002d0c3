"""A prompt's pass through a whole model, or a token after it, over three processes.

Runs in a process of its own, the client's: so that its memory is that of this run.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.benchmark.links import network_from_json, network_to_json, reached_through
from mpcinfer.benchmark.machine import peak_bytes, peaks_of_children
from mpcinfer.benchmark.measured import Measured
from mpcinfer.benchmark.network import LOOPBACK, Network
from mpcinfer.benchmark.passes import dealing_s
from mpcinfer.benchmark.task_run import JOB, TIMEOUT_S, wait_for, worker_command
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.load import load_config, load_model, load_ranges_of
from mpcinfer.models.public import PublicModel
from mpcinfer.models.static import static
from mpcinfer.plans import plan_from
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.together import private
from mpcinfer.suites.task import COSTS, differences
from parties.bill import Bill, BillRow
from parties.errors import ConfigError
from parties.launch import Processes

MODEL = "model"
_TEXT = (
    "def read_lines(path):\n    with open(path) as file:\n        return [line.strip() for line in file]\n\n"
)
_ONLINE_WIRE = ("online_wire_bytes_to_server", "online_wire_bytes_to_client")
_WIRE = ("wire_bytes_to_server", "wire_bytes_to_client", *_ONLINE_WIRE)
_ONLINE = ("rounds", "online_bytes_to_server", "online_bytes_to_client", *_ONLINE_WIRE)


def run_model(
    model: str,
    plan: str,
    tokens: int,
    how: str,
    network: Network,
    *,
    token: bool,
    timeout_s: float = TIMEOUT_S,
) -> Measured:
    """One repetition, in a client process of its own.

    Args:
        model: a name or path, with weights on this machine.
        tokens: of the prompt.
        token: measure the second new token, a pass of one token over the KV cache; not the prompt's pass.

    Raises:
        ConfigError: no such model or plan, or tokens that do not fit.
        PeerError: a process failed; the message has its last words.
    """
    job = {"model": model, "plan": plan, "tokens": tokens, "token": token, "how": how}
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as name, Processes() as processes:
        folder = Path(name)
        (folder / JOB).write_text(json.dumps({**job, "network": network_to_json(network)}))
        result = folder / f"{MODEL}.json"
        with processes.naming_the_dead():
            processes.start("client", worker_command(folder, MODEL))
            wait_for([result], processes, timeout_s)
        return Measured.from_json(json.loads(result.read_text()))


@dataclass(slots=True)
class _Passes:
    """Is told of the logits after each pass.

    Attributes:
        logits: [V] each; bills: of this party, up to then; times: when.
    """

    client: PrivateClient
    times: list[float]
    logits: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    bills: list[Bill] = field(default_factory=list[Bill])
    ids: list[int] = field(default_factory=list[int])

    def __call__(self, logits: torch.Tensor) -> int:
        """The likeliest token that does not end the answer."""
        self.times.append(time.perf_counter())
        self.logits.append(logits.double())
        self.bills.append(self.client.bill_so_far())
        allowed = logits.clone()
        allowed[list(self.client.public.tokenizer.stop)] = -torch.inf
        self.ids.append(int(allowed.argmax()))
        return self.ids[-1]


def measure_model(job: dict[str, Any]) -> Measured:
    """The client's part; server and dealer are processes that it starts."""
    model, plan, tokens, passes = job["model"], job["plan"], job["tokens"], 2 if job["token"] else 1
    network, context = network_from_json(job["network"]), tokens + passes
    counted = _counted(model, plan, tokens, passes, context)
    shape = network.shape if job["how"] == "shaped" and network != LOOPBACK else None
    started = time.perf_counter()
    with (
        reached_through(job["how"], network) as through,
        private(
            model, plan=plan, max_context=context, through=through, timeout_s=TIMEOUT_S, shape=shape
        ) as client,
    ):
        ready = time.perf_counter()
        prompt = prompt_of(client.public, tokens)
        client.prepare(tokens, passes)
        prepared = time.perf_counter()
        time.sleep(dealing_s(counted, network))  # nobody tells the client when the server has its own
        seen = _Passes(client, [time.perf_counter()])
        client.complete(prompt, max_new_tokens=passes, sampler=seen)
        memory = peaks_of_children({"server": "serve", "dealer": "dealer"})
        memory["client"] = peak_bytes()
        whole = client.finish()
    first = _counted(model, plan, tokens, 1, context) if job["token"] else None
    off = _off(whole, counted)
    return Measured(
        bill=whole if first is None else _last_pass(whole, first, seen.bills),
        seconds=seen.times[-1] - seen.times[-2],
        offline_seconds=prepared - ready,
        setup_seconds=ready - started,
        error=_error(model, prompt, seen),
        memory=memory,
        off=off,
        emulated_by=through.means if through is not None else "",
    )


def prompt_of(public: PublicModel, tokens: int) -> str:
    """A text of so many tokens exactly.

    Raises:
        ConfigError: none was found.
    """
    encode, text = public.tokenizer.encode, _TEXT * (2 + tokens // 8)
    for start in range(len(_TEXT)):
        ids = encode(text[start:])[:tokens]
        prompt = public.tokenizer.decode(ids)
        if len(ids) == tokens and len(encode(prompt)) == tokens:
            return prompt
    raise ConfigError(f"no prompt of {tokens} tokens was found for {public.name}")


def _counted(model: str, plan: str, tokens: int, new_tokens: int, context: int) -> Bill:
    return count(
        load_config(model),
        plan_from(plan),
        tokens=tokens,
        new_tokens=new_tokens,
        ranges=load_ranges_of(model),
        max_context=context,
    )


def count_case(model: str, plan: str, tokens: int, *, token: bool) -> Bill:
    """The counted bill of what `run_model` measures, which has the maximum context that it has."""
    context = tokens + (2 if token else 1)
    whole = _counted(model, plan, tokens, 2 if token else 1, context)
    if not token:
        return whole
    return _minus(whole, _counted(model, plan, tokens, 1, context))


def _off(measured: Bill, counted: Bill) -> list[str]:
    """Of the whole session, setup included."""
    got, want = measured.total.setup_bytes, counted.total.setup_bytes
    setup = [f"setup_bytes: {got:,} measured, {want:,} counted"] if got != want else []
    return differences(measured.total, counted.total) + setup


def _last_pass(whole: Bill, first: Bill, bills: list[Bill]) -> Bill:
    """What the second pass alone cost: online as measured after each pass; offline of the session, less what
    the first pass takes by count, because both are prepared together."""
    online, offline = _minus(bills[1], bills[0]), _minus(whole, first)
    rows = {row.label: row for row in offline.rows}
    for row in online.rows:
        kept = rows.setdefault(row.label, BillRow(label=row.label, kind=row.kind))
        for name in (*_ONLINE, "seconds"):
            setattr(kept, name, getattr(row, name))
    for label, row in rows.items():
        if label not in {each.label for each in online.rows}:
            for name in _ONLINE:
                setattr(row, name, 0)
    return Bill(rows=list(rows.values()), notes=whole.notes)


def _minus(bill: Bill, other: Bill) -> Bill:
    """Label by label; what is in neither stays out. Setup is not part of a pass."""
    before = {row.label: row for row in other.rows}
    rows: list[BillRow] = []
    for row in bill.rows:
        less = before.get(row.label, BillRow(label=row.label))
        left = BillRow(label=row.label, kind=row.kind)
        for name in (*COSTS, *_WIRE):
            setattr(left, name, getattr(row, name) - getattr(less, name))
        if row.seconds is not None and (less.seconds is not None or row.label not in before):
            left.seconds = row.seconds - (less.seconds or 0.0)
        if any(getattr(left, name) for name in COSTS):
            rows.append(left)
    return Bill(rows=rows)


def _error(model: str, prompt: str, seen: _Passes) -> dict[str, float]:
    """Of the logits of the last pass, to the model in float64."""
    loaded = load_model(model)
    config, weights = static(loaded.config, loaded.weights)
    doubled = {name: weight.double() for name, weight in weights.items()}
    session = Session(Decoder(PlainBackend(), config, doubled))
    with torch.no_grad():
        logits = session.step(loaded.tokenizer.encode(prompt), 1)
        for token in seen.ids[: len(seen.logits) - 1]:
            logits = session.step([token], 1)
    off = (seen.logits[-1] - logits[-1].double()).abs()
    return {"max": float(off.max()), "mean": float(off.mean())}
