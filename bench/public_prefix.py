"""A public prefix beside the same tokens run privately: counted, measured, and compared answer by answer.

    python -m bench.public_prefix agree                 answers after it and over the whole text, in the clear
    python -m bench.public_prefix run --prefix 32 128   private sessions of tiny-python, three processes each

`agree` compares in the fixed point of `fss-faithful`, whose reference a private run equals bit by bit. `run`
measures seconds, so nothing else should run. Both append to bench/records/public_prefix.jsonl;
`python -m bench.tables` writes docs/methods/public_prefix.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from bench.agreement import CODE
from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer import ClearModel, Model, cost, load_model, private
from mpcinfer.public_prefix import PrefixText
from parties.bill import BillRow

FILE = "public_prefix.jsonl"
PROMPT, ANSWER = 16, 8
"""Private tokens, and tokens of an answer."""
COUNTED = ("smollm2-135m-instruct", "gpt2")
PREFIXES = (32, 128, 512)
ROOM = 1024
CODER, ASSISTANT = "tiny-python", "smollm2-135m-instruct"
SYSTEM = (
    "You are a helpful assistant who answers in one short sentence and never guesses.",
    "You are a careful teacher. Answer the question in plain words that a child of ten understands, give one "
    "example, and say so where you do not know the answer.",
)
QUESTIONS = (
    "What is the capital of France?",
    "Why is the sky blue?",
    "Who wrote Hamlet?",
    "How many legs has a spider?",
    "What is a prime number?",
    "Name three colours.",
)
STRIDE = 24
"""Tokens between the beginnings of two pieces of code."""


def _pieces(model: Model, prefix: int) -> Iterator[tuple[str, str]]:
    """Prefixes of code of so many tokens, and prompts that follow them."""
    ids, decode = model.tokenizer.encode(CODE), model.tokenizer.decode
    for start in range(0, len(ids) - prefix - PROMPT, STRIDE):
        middle, end = start + prefix, start + prefix + PROMPT
        before, whole = decode(ids[start:middle]), decode(ids[start:end])
        if model.tokenizer.encode(whole) == ids[start:end]:
            yield before, whole.removeprefix(before)


def agree_code(prefix: int) -> None:
    """Answers of the small model to pieces of code."""
    model, same, apart = load_model(CODER), 0, list[int]()
    pieces = list(_pieces(model, prefix))
    whole = ClearModel(model, fixed_point=True, plan="fss-faithful", max_context=ROOM // 4)
    for before, prompt in pieces:
        after = ClearModel(
            model,
            fixed_point=True,
            plan="fss-faithful",
            max_context=ROOM // 4,
            public_prefix=PrefixText(before),
        )
        found = after.complete(prompt, max_new_tokens=ANSWER).ids
        expected = whole.complete(before + prompt, max_new_tokens=ANSWER).ids
        same += found == expected
        apart.append(sum(a != b for a, b in zip(found, expected, strict=False)))
    _keep_agreement(CODER, prefix, len(pieces), same, apart)


def agree_chat(system: str) -> None:
    """Answers of the assistant to questions, after a system message."""
    model, same, apart = load_model(ASSISTANT), 0, list[int]()
    given = PrefixText(system, system=True)
    whole = ClearModel(model, fixed_point=True, plan="fss-faithful", max_context=ROOM // 4)
    after = ClearModel(
        model, fixed_point=True, plan="fss-faithful", max_context=ROOM // 4, public_prefix=given
    )
    for question in QUESTIONS:
        said = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        asked = model.tokenizer.chat(said)
        found = after.complete(asked, max_new_tokens=ANSWER).ids
        expected = whole.complete(asked, max_new_tokens=ANSWER).ids
        same += found == expected
        apart.append(sum(a != b for a, b in zip(found, expected, strict=False)))
    assert after.prefix is not None
    _keep_agreement(ASSISTANT, len(after.prefix), len(QUESTIONS), same, apart)


def _keep_agreement(model: str, prefix: int, answers: int, same: int, apart: Sequence[int]) -> None:
    print(f"{model}, {prefix} tokens: {same} of {answers} answers the same, tokens that differ: {apart}")
    Record(
        case="agree",
        plan="fss-faithful",
        model=model,
        tokens=prefix,
        measured=True,
        bill={},
        network="none: in the clear",
        extra={"prefix": prefix, "answers": answers, "same": same, "new_tokens": ANSWER},
    ).append(RECORDS / FILE)


def run(prefix: int, plan: str) -> None:
    """One session over a prefix, and one over the whole text."""
    model = load_model(CODER)
    before, prompt = next(_pieces(model, prefix))
    for public in (False, True):
        given = PrefixText(before) if public else None
        text = prompt if public else before + prompt
        with private(CODER, plan=plan, timeout_s=600.0, max_context=ROOM // 4, public_prefix=given) as client:
            start, first = time.perf_counter(), list[float]()
            answer = client.complete(
                text,
                max_new_tokens=ANSWER,
                on_text=lambda so_far, start=start, first=first: first.append(time.perf_counter() - start),
            )
            total_s = time.perf_counter() - start
            bill = client.finish()
        counted = cost(
            CODER,
            plan=plan,
            tokens=PROMPT + (0 if public else prefix),
            new_tokens=len(answer.ids),
            max_context=ROOM // 4,
            public_prefix_tokens=prefix if public else 0,
        ).total
        assert _costs(counted) == _costs(bill.total), "the bill is not as counted"
        print(
            f"{CODER} {plan}, {prefix} tokens {'public' if public else 'private'}: {_costs(bill.total)}, "
            f"first {first[0]:.2f} s, {total_s:.2f} s, {answer.text!r}",
            flush=True,
        )
        Record(
            case="run",
            plan=plan,
            model=CODER,
            tokens=len(answer.ids),
            measured=True,
            bill={key: value for key, value in bill.to_json().items() if key != "labels"},
            seconds=[total_s],
            network="loopback TCP with CURVE, three processes",
            extra={"prefix": prefix, "public": public, "first_s": first[0], "text": answer.text},
        ).append(RECORDS / FILE)


def _costs(total: BillRow) -> tuple[int, int, int, int]:
    """Rounds, and bytes online, offline and in the set-up."""
    online = total.online_bytes_to_server + total.online_bytes_to_client
    offline = total.offline_bytes_to_server + total.offline_bytes_to_client
    return total.rounds, online, offline, total.setup_bytes


def counted_table() -> str:
    """A prefix public and private, of models of two sizes."""
    rows: list[list[str]] = []
    for model in COUNTED:
        for prefix in PREFIXES:
            for public in (False, True):
                total = cost(
                    model,
                    plan="fss",
                    tokens=PROMPT + (0 if public else prefix),
                    new_tokens=ANSWER,
                    max_context=ROOM,
                    public_prefix_tokens=prefix if public else 0,
                ).total
                rounds, online, offline, setup = _costs(total)
                rows.append(
                    [
                        f"`{model}`",
                        f"{prefix} {'public' if public else 'private'}",
                        f"{rounds:,}",
                        megabytes(online),
                        megabytes(offline),
                        megabytes(setup),
                    ]
                )
    return table(["model", "prefix, tokens", "rounds", "online, both ways", "offline", "setup, once"], rows)


def _records(case: str) -> list[dict[str, Any]]:
    """The newest of each model, plan, length and kind."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    path = RECORDS / FILE
    for line in path.read_text().splitlines() if path.exists() else []:
        record = json.loads(line)
        if record["case"] == case:
            extra = record["extra"]
            newest[record["model"], record["plan"], extra["prefix"], extra.get("public")] = record
    return [newest[key] for key in sorted(newest, key=str)]


def measured_table() -> str:
    """Sessions of the small model."""
    rows: list[list[str]] = []
    for record in sorted(_records("run"), key=lambda each: (each["plan"], each["extra"]["prefix"])):
        bill, extra = record["bill"], record["extra"]
        online = bill["online_bytes_to_server"] + bill["online_bytes_to_client"]
        offline = bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]
        rows.append(
            [
                f"`{record['plan']}`",
                f"{extra['prefix']} {'public' if extra['public'] else 'private'}",
                f"{bill['rounds']:,}",
                megabytes(online),
                megabytes(offline),
                f"{extra['first_s']:.2f} s",
                f"{record['seconds'][0]:.2f} s",
            ]
        )
    header = ["plan", "prefix, tokens", "rounds", "online, both ways", "offline", "first token", "answer"]
    return table(header, rows)


def agreement_table() -> str:
    """Answers that are the same as over the whole text."""
    rows = [
        [
            f"`{record['model']}`",
            str(record["extra"]["prefix"]),
            str(record["extra"]["new_tokens"]),
            f"{record['extra']['same']} of {record['extra']['answers']}",
        ]
        for record in _records("agree")
    ]
    return table(["model", "prefix, tokens", "tokens an answer", "the same answer"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "public prefix counted": counted_table,
    "public prefix measured": measured_table,
    "public prefix agreement": agreement_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["agree", "run"])
    parser.add_argument("--prefix", type=int, nargs="+", default=[32, 128], help="tokens")
    parser.add_argument("--plan", nargs="+", default=["fss", "crypten"], help="of `run`")
    parser.add_argument("--model", nargs="+", default=[CODER, ASSISTANT], help="of `agree`")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the client's idle threads would take the server's cores
    if options.case == "run":
        for plan in options.plan:
            for prefix in options.prefix:
                run(prefix, plan)
        return
    if CODER in options.model:
        for prefix in options.prefix:
            agree_code(prefix)
    if ASSISTANT in options.model:
        for system in SYSTEM:
            agree_chat(system)


if __name__ == "__main__":
    main()
