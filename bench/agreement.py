"""Does privacy change the answer? Private runs of whole models against float and against the reference.

    python -m bench.agreement text --plan fss-faithful      the reference's tokens, prompt by prompt
    python -m bench.agreement forced --plan fss             top-1 agreement with float, teacher-forced
    python -m bench.agreement perplexity --plan fss         of the shipped code model, against float

Everything runs as three processes on this machine. `text` generates privately and compares with the
plan's reference in the clear. `forced` feeds float's answers to the private model, token by token,
whatever that would have said. A record is appended to bench/records/agreement.jsonl.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bench.records import RECORDS, Record
from mpcinfer import ClearModel, private
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sampling import Sampler, greedy

ASSISTANT, CODER = "smollm2-135m-instruct", "tiny-python"
QUESTIONS = (
    "What is the capital of France?",
    "Give me three tips for staying healthy during winter.",
    "Write one sentence about the sea.",
    "Who wrote the play Romeo and Juliet, and when was it first performed?",
    "Explain in simple words why the sky is blue and why sunsets are red.",
)
MORE = ("Describe a rainy day in a big city.",)
"""For top-1 agreement alone."""
CODE = '''class Stack:
    """A stack of items."""

    def __init__(self, items=None):
        self.items = list(items or [])

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()

    def __len__(self):
        return len(self.items)


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip() for line in file]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="the file to read")
    args = parser.parse_args(argv)
    for line in read_lines(args.path):
        print(line)
    return 0
'''


@dataclass
class Forced:
    """A sampler that says what it is told to, and keeps what the model would have said.

    Attributes:
        agreed: how often the likeliest token was the one to say.
        nats: minus the log-probability of what was said, summed.
        times: when each token was asked for.
    """

    tokens: Sequence[int]
    agreed: int = 0
    nats: float = 0.0
    times: list[float] = field(default_factory=list[float])

    def __call__(self, logits: torch.Tensor) -> int:
        wanted = self.tokens[len(self.times)]
        self.times.append(time.perf_counter())
        self.agreed += int(int(logits.argmax()) == wanted)
        self.nats -= float(torch.log_softmax(logits.double(), -1)[wanted])
        return wanted

    @property
    def token_s(self) -> float:
        """Median seconds from one token to the next."""
        return statistics.median(b - a for a, b in zip(self.times, self.times[1:], strict=False))


def ask(model: Model, question: str) -> str:
    """A question in the model's chat template."""
    return model.tokenizer.chat([{"role": "user", "content": question}])


def text(plan: str, tokens: int) -> None:
    """Private answers next to the reference's."""
    model, same = load_model(ASSISTANT), 0
    for question in QUESTIONS:
        with private(ASSISTANT, plan=plan, timeout_s=300) as client:
            answer = client.complete(ask(model, question), max_new_tokens=tokens)
            max_context = client.max_context
        reference = ClearModel(model, fixed_point=True, plan=plan, max_context=max_context)
        expected = reference.complete(ask(model, question), max_new_tokens=tokens)
        same += answer.ids == expected.ids
        verdict = "same" if answer.ids == expected.ids else f"reference: {expected.text!r}"
        print(f"{question}\n  {answer.text!r}\n  {verdict}", flush=True)
    print(f"{plan}: {same} of {len(QUESTIONS)} answers of up to {tokens} tokens are the reference's")
    _keep("text", plan, ASSISTANT, tokens * len(QUESTIONS), {"same": same, "of": len(QUESTIONS)}, [])


def forced(plan: str, tokens: int, first: int) -> None:
    """Top-1 agreement with float's own answers."""
    model = load_model(ASSISTANT)
    agreed = total = 0
    seconds: list[float] = []
    for question in (*QUESTIONS, *MORE)[first:]:
        prompt = ask(model, question)
        wanted = _answer_ids(ClearModel(model), prompt, tokens)
        sampler = Forced(wanted)
        with private(ASSISTANT, plan=plan, timeout_s=300) as client:
            _complete(client, prompt, len(wanted), sampler)
        agreed, total = agreed + sampler.agreed, total + len(wanted)
        seconds.append(sampler.token_s)
        print(f"{question} {sampler.agreed} of {len(wanted)}, {sampler.token_s:.2f} s a token", flush=True)
    print(f"{plan}: {agreed} of {total} ({agreed / total:.2%}) top-1 as float")
    _keep("forced", plan, ASSISTANT, total, {"agreed": agreed, "of": total}, seconds)


def perplexity(plan: str, tokens: int) -> None:
    """Of a piece of code, under the plan and in float."""
    model = load_model(CODER)
    ids = model.tokenizer.encode(CODE)[: tokens + 1]
    prompt = model.tokenizer.decode(ids[:1])
    assert model.tokenizer.encode(prompt) == ids[:1]
    samplers = {"float": Forced(ids[1:]), plan: Forced(ids[1:])}
    ClearModel(model).complete(prompt, max_new_tokens=len(ids) - 1, sampler=samplers["float"])
    with private(CODER, plan=plan, timeout_s=300) as client:
        _complete(client, prompt, len(ids) - 1, samplers[plan])
    values = {name: math.exp(sampler.nats / (len(ids) - 1)) for name, sampler in samplers.items()}
    change = values[plan] / values["float"] - 1
    print(
        f"{len(ids) - 1} tokens: perplexity {values}, {change:+.3%}; {samplers[plan].token_s:.2f} s a token"
    )
    _keep("perplexity", plan, CODER, len(ids) - 1, {**values, "change": change}, [samplers[plan].token_s])


def _answer_ids(model: ClearModel, prompt: str, tokens: int) -> tuple[int, ...]:
    return model.complete(prompt, max_new_tokens=tokens, sampler=greedy).ids


def _complete(client: PrivateClient, prompt: str, tokens: int, sampler: Sampler) -> None:
    client.complete(prompt, max_new_tokens=tokens, sampler=sampler)


def _keep(
    case: str, plan: str, model: str, tokens: int, result: dict[str, float], seconds: list[float]
) -> None:
    Record(
        case=f"agreement-{case}",
        plan=plan,
        model=model,
        tokens=tokens,
        measured=True,
        bill={},
        seconds=seconds,
        network="loopback TCP with CURVE, three processes",
        extra=result,
    ).append(RECORDS / "agreement.jsonl")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["text", "forced", "perplexity"])
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--tokens", type=int, help="a prompt: 16 (text), 64 (forced), 240 (perplexity)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="forced: leave out so many prompts")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the client's idle threads would take the server's cores
    if options.case == "forced":
        forced(options.plan, options.tokens or 64, options.first)
        return
    case, tokens = {"text": (text, 16), "perplexity": (perplexity, 240)}[options.case]
    case(options.plan, options.tokens or tokens)


if __name__ == "__main__":
    main()
