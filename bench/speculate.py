"""Private answers with and without drafts, on networks of several delays: seconds, passes, rounds, bytes.

    python -m bench.speculate --model tiny-python --tokens 16 --drafts 0 4 --delays 0 10 40
    python -m bench.speculate --model smollm2-135m-instruct --tokens 16 --drafts 0 4 --delays 40
    python -m bench.speculate --agreement --tokens 16 --drafts 4

Three processes on this machine; with a delay, in milliseconds each way, every connection goes through a relay
(`mpcinfer.benchmark.emulation`). Seconds a token are those of the whole answer, its prompt's pass and the
dealer's work for it included, over its tokens. Appends a record for each prompt, delay and number of drafts to
bench/records/speculate.jsonl, with whether the text is that of the same prompt without drafts.

With --agreement nothing is private: answers with drafts are compared with those without, on the reference
that rounds at random as `fss` does, and two without drafts with each other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from bench.agreement import CODE
from bench.markdown import table
from bench.records import RECORDS, Record
from mpcinfer import Answer, load_model, private
from mpcinfer.benchmark.emulation import emulated
from mpcinfer.benchmark.network import Network
from mpcinfer.generation import Remembered, Session, complete, generate
from mpcinfer.speculation import Speculation
from mpcinfer.suites.fss.reference import reference_decoder
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.randomness import SystemRandom

FILE = "speculate.jsonl"
PIECE, STRIDE = 24, 9
"""Tokens of a prompt for --agreement, and how far apart they begin."""
PROMPTS = {
    "tiny-python": {
        "list": "x = [1, 2, 3]\ny = [1, 2, 3]\nz = [1, 2",
        "other": "def read_lines(path):\n    with open(",
    },
    "smollm2-135m-instruct": {
        "list": "red, green, blue, red, green, blue, red, green,",
        "code": "class Point:\n    def __init__(self, x, y, z):\n        self.x = x\n        self.y = y\n",
        "other": "The best thing about the sea is",
    },
}


def _late(delay_ms: float) -> Network:
    """A network that delays and limits nothing else."""
    return Network(name=f"{delay_ms:g} ms", bandwidth=math.inf, latency=delay_ms / 1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """One private answer.

    Attributes:
        first_s: until the first token.
        total_s: until the last one.
    """

    answer: Answer
    bill: Bill
    first_s: float
    total_s: float


def measure(model: str, plan: str, prompt: str, tokens: int, drafts: int, delay_ms: float) -> Measured:
    """A session of one answer; it has no more room than that."""
    with contextlib.ExitStack() as stack:
        through = stack.enter_context(emulated(_late(delay_ms))) if delay_ms else None
        client = stack.enter_context(private(model, plan=plan, timeout_s=600.0, through=through))
        times = [time.perf_counter()]
        answer = client.complete(
            prompt,
            max_new_tokens=tokens,
            on_text=lambda text: times.append(time.perf_counter()),
            speculate=drafts,
        )
        bill = client.finish()
    return Measured(answer, bill, times[1] - times[0], times[-1] - times[0])


def keep(
    model: str, plan: str, name: str, drafts: int, delay_ms: float, run: Measured, without: Measured | None
) -> None:
    """Says what was measured, and appends a record."""
    made, total = len(run.answer.ids), run.bill.total
    counts = {} if run.answer.speculation is None else run.answer.speculation.to_json()
    same = without is not None and run.answer.ids == without.answer.ids
    extra = {
        "prompt": name,
        "drafts": drafts,
        "delay_ms": delay_ms,
        "text": run.answer.text,
        "same_as_without": same,
        "first_s": run.first_s,
        "total_s": run.total_s,
        **counts,
    }
    factor = "" if without is None else f", {without.total_s / run.total_s:.2f} x"
    print(
        f"{model} {plan} {name}, {delay_ms:g} ms, {drafts} drafts: {run.total_s / made:.2f} s a token"
        f"{factor}, "
        f"first {run.first_s:.2f} s, {made} tokens, {counts}, {total.rounds:,} rounds, "
        f"{(total.online_bytes_to_server + total.online_bytes_to_client) / 1e6:.2f} MB online, "
        f"{(total.offline_bytes_to_server + total.offline_bytes_to_client) / 1e6:.1f} MB offline, "
        f"same: {same}, "
        f"{run.answer.text!r}",
        flush=True,
    )
    bill = {key: value for key, value in run.bill.to_json().items() if key != "labels"}
    Record(
        case="speculate",
        plan=plan,
        model=model,
        tokens=made,
        measured=True,
        bill=bill,
        seconds=[run.total_s / made],
        network=f"loopback TCP with CURVE, three processes, {delay_ms:g} ms each way",
        extra=extra,
    ).append(RECORDS / FILE)


def agreement(model: str, tokens: int, drafts: int) -> None:
    """Answers to pieces of code, rounded at random."""
    loaded, plan = load_model(model), get_plan("fss")
    session = Session(reference_decoder(loaded, plan, rounding=SystemRandom()))
    predict = Remembered(session.step, session.rewind)
    ids = loaded.tokenizer.encode(CODE)
    same: Counter[int] = Counter()
    prompts = [ids[start : start + PIECE] for start in range(0, len(ids) - PIECE, STRIDE)]
    counts = Speculation(most=drafts)
    for prompt in prompts:
        answers: list[tuple[int, ...]] = []
        for speculation in (None, None, counts):
            predict.forget()
            loop = generate(predict, prompt, max_new_tokens=tokens, context=1 << 20, speculation=speculation)
            answers.append(complete(loop).ids)
        same[0] += answers[1] == answers[0]
        same[drafts] += answers[2] == answers[0]
    print(
        f"{model}, fss's rounding, {len(prompts)} answers of {tokens} tokens: {same[0]} the same twice "
        f"without drafts, {same[drafts]} the same with {drafts}; "
        f"{counts.accepted} of {counts.drafted} drafts right"
    )
    Record(
        case="speculate-agreement",
        plan="fss",
        model=model,
        tokens=tokens,
        measured=True,
        bill={},
        network="none: rounded at random in the clear",
        extra={
            "answers": len(prompts),
            "same_without": same[0],
            "same_with": same[drafts],
            "drafts": drafts,
            **counts.to_json(),
        },
    ).append(RECORDS / FILE)


def speculation_table() -> str:
    """The newest records: each answer with drafts next to the same one without."""
    newest: dict[tuple[str, str, float, int], dict[str, Any]] = {}
    for line in (RECORDS / FILE).read_text().splitlines():
        record = json.loads(line)
        if record["case"] != "speculate":
            continue
        extra = record["extra"]
        newest[record["model"], extra["prompt"], extra["delay_ms"], extra["drafts"]] = record
    rows: list[list[str]] = []
    for (model, prompt, delay, drafts), record in newest.items():
        plain = newest.get((model, prompt, delay, 0))
        if not drafts or plain is None:
            continue
        extra, seconds, before = record["extra"], record["seconds"][0], plain["seconds"][0]
        rows.append(
            [
                f"`{model}`, {prompt}",
                f"{delay:g} ms",
                str(record["tokens"]),
                f"{extra['accepted']} of {extra['drafted']}",
                f"{before:.2f} s",
                f"{seconds:.2f} s",
                f"{before / seconds:.2f}",
                "yes" if extra["same_as_without"] else "no",
            ]
        )
    header = ["answer", "each way", "tokens", "drafts right", "a token", "with drafts", "factor", "same text"]
    return table(header, rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python", choices=list(PROMPTS))
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens")
    parser.add_argument("--drafts", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 10, 40], help="milliseconds, each way")
    parser.add_argument("--prompts", nargs="+", default=["list", "other"], help="list, code, other")
    parser.add_argument("--agreement", action="store_true", help="with and without drafts, in the clear")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the client's idle threads would take the server's cores
    if options.agreement:
        agreement(options.model, options.tokens, max(options.drafts))
        return
    for name in options.prompts:
        for delay in options.delays:
            without: Measured | None = None
            for drafts in options.drafts:
                prompt = PROMPTS[options.model][name]
                run = measure(options.model, options.plan, prompt, options.tokens, drafts, delay)
                keep(options.model, options.plan, name, drafts, delay, run, without)
                without = run if not drafts else without


if __name__ == "__main__":
    main()
