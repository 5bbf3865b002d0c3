"""The code in the documents does what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mpcinfer
from mpcinfer.suites.fss.catalogue import formats_of
from mpcinfer.suites.registry import get_plan
from parties.meter import CLIENT, Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares, shape_only
from protocols.fss.operations.activation_protocols import ActivationFormats
from protocols.fss.plans import is_faithful
from protocols.share import Held, Share
from tests.conformance.fss_protocol_suite import (
    CONFIG,
    TOKENS,
    cases_on,
    check_cost,
    check_error,
    check_oblivious,
    with_protocol,
)
from tests.protocols.fss.harness import Secret, run

ROOT = Path(__file__).resolve().parent.parent


def python_in(document: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def example(name: str) -> Any:
    names: dict[str, Any] = {}
    exec(compile(python_in("docs/adding-a-protocol.md"), "adding-a-protocol.md", "exec"), names)
    return names[name]()


def test_the_example_protocol_keeps_its_stated_error() -> None:
    protocol = example("HardGelu")
    x = torch.cat([torch.linspace(-4.0, 4.0, 4001), torch.tensor([*protocol.domain])]).double()
    executor = IdealCleartextArithmetic(Meter())
    y = executor.open_to(CLIENT, protocol(executor, executor.share_from(CLIENT, x, x.shape)))
    error = float((y - torch.nn.functional.gelu(x)).abs().max())
    assert 0.9 * protocol.max_abs_error < error <= protocol.max_abs_error  # stated, and not much too large


def test_the_example_protocol_costs_what_it_says() -> None:
    protocol = example("HardGelu")
    [(rounds, element_bytes)] = re.findall(r"(\d+) rounds and ([\d.]+) bytes an element", protocol.__doc__)
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter)
    protocol(executor, Share(torch.empty(8, dtype=torch.int64, device="meta"), executor.frac_bits))
    total = meter.bill().total
    assert (total.rounds, total.online_bytes_to_server) == (int(rounds), 8 * float(element_bytes))


FORMATS = ActivationFormats(
    largest=30.0, ring_bits=24, frac_bits=9, index_bits=14, index_frac=6, table_frac=9, centred=False
)


def test_the_example_on_the_fss_suite_is_exact_and_goes_with_factors() -> None:
    relu = example("ExactRelu")
    x = torch.tensor([-2000, -1, 0, 1, 2000])
    executor = Clear(Meter())
    value, factor = (Share(v, 9, 16, Held.MASKED) for v in (x, x.flip(0)))
    assert torch.equal(relu(executor, "relu", FORMATS, value, value).value, x.clamp(min=0))
    gated = relu(executor, "relu", FORMATS, value, value, factor)
    assert torch.equal(gated.value, x.clamp(min=0) * x.flip(0))
    assert gated.frac_bits == 18
    assert relu.max_abs_error("relu", FORMATS) == 0.0


def test_the_example_on_the_fss_suite_costs_what_it_says() -> None:
    relu = example("ExactRelu")
    [(rounds, bits)] = re.findall(r"(\d+) round and (\d+) bit an element", relu.__doc__)
    executor = Counting(Meter(timed=False))
    x = shape_only((64,), 9, 16, Held.MASKED)
    assert relu(executor, "relu", FORMATS, x, x).shape == (64,)
    total = executor.meter.bill().total
    assert total.rounds == int(rounds)
    assert total.online_bytes_to_server == total.online_bytes_to_client == 64 * int(bits) / 8


def test_the_example_on_the_fss_suite_works_between_parties_under_any_mask() -> None:
    relu = example("ExactRelu")

    def program(executor: Executor, x: Share, factor: Share) -> Shares:
        return relu(executor, "relu", FORMATS, x, x), relu(executor, "relu", FORMATS, x, x, factor)

    x = torch.tensor([-(2**14), -1, 0, 1, 2**14 - 1]).repeat_interleave(4)
    masks = torch.tensor([0, 1, 2**15, 2**16 - 1]).repeat(5)
    inputs = [Secret(x, 9, 16, mask=masks), Secret(x.flip(0) // 64, 9, 16, mask=masks.flip(0))]
    result = run(program, inputs)
    assert torch.equal(result.secret(0), x.clamp(min=0))
    assert torch.equal(result.secret(1), x.clamp(min=0) * (x.flip(0) // 64))
    for bill in result.bills:
        for name in ("rounds", "online_bytes_to_server", "online_bytes_to_client", "offline_bytes_to_server"):
            assert getattr(bill, name) == getattr(result.counted, name) > 0


@pytest.mark.parametrize("plan", ["fss", "fss-faithful"])
def test_the_example_that_truncates_keeps_what_it_states(plan: str) -> None:
    chosen = get_plan(plan)
    formats = with_protocol(formats_of(CONFIG, TOKENS, chosen), "gelu", example("HardGeluOnMasks"))
    for case in cases_on("gelu", "hard", formats, exact_truncation=is_faithful(chosen)):
        for check in (check_error, check_cost, check_oblivious):
            check(case)


def test_the_example_that_truncates_costs_what_it_says_and_goes_with_factors() -> None:
    gelu = example("HardGeluOnMasks")
    [(rounds, more)] = re.findall(r"(\d+) rounds and f \+ (\d+) bits an element", gelu.__doc__)
    executor = Counting(Meter(timed=False))
    x = shape_only((64,), 9, 16, Held.MASKED)
    gelu(executor, "gelu", FORMATS, x, x)
    total = executor.meter.bill().total
    assert total.rounds == int(rounds)
    assert total.online_bytes_to_server == total.online_bytes_to_client == 64 * (9 + int(more)) / 8
    values = torch.tensor([-2000, -400, 0, 400, 2000])
    value, factor = (Share(v, 9, 16, Held.MASKED) for v in (values, values.flip(0)))
    gated = gelu(Clear(Meter()), "gelu", FORMATS, value, value, factor)
    expected = torch.nn.functional.gelu(values / 2.0**9) * values.flip(0) / 2.0**9
    allowed = gelu.max_abs_error("gelu", FORMATS) * values.flip(0).abs() / 2.0**9 + 2.0**-9
    assert ((gated.value / 2.0**gated.frac_bits - expected).abs() <= allowed).all()


@pytest.mark.e2e
def test_the_session_in_the_readme_works_when_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(python_in("README.md"), "README.md", "exec"), names)
    answer, bill = names["answer"], names["bill"]
    text = capsys.readouterr().out
    assert text.startswith(answer.text + "\n")
    assert (
        sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) rounds", text)[:-1]) == bill.total.rounds
    )
    prompt = mpcinfer.load_public("tiny-python").tokenizer.encode("for i in")
    passes = len(answer.ids) + (answer.reason == "stop")
    max_context = mpcinfer.load_config("tiny-python").context
    counted = mpcinfer.cost(
        "tiny-python", plan="fss", tokens=len(prompt), new_tokens=passes, max_context=max_context
    )
    assert bill.total.rounds == counted.total.rounds
    assert bill.total.online_bytes_to_server == counted.total.online_bytes_to_server


@pytest.mark.e2e
def test_the_example_in_the_package_works_when_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    assert mpcinfer.__doc__ is not None
    exec(compile(mpcinfer.__doc__.split("\n\n", 1)[1], "mpcinfer", "exec"), names)
    assert capsys.readouterr().out == f"{names['answer'].text} {names['bill'].total.rounds}\n"
    assert names["bill"].total.rounds > 0


SHORTER = {
    '"python", 2048': '"notes", 270',
    "vocabulary=2048": "vocabulary=270",
    "context=128": "context=16",
    "steps=2000, batch=32": "steps=1, batch=2, warmup=0",
}
"""Of what the page trains for hours: the same in seconds."""


def test_the_runs_in_the_training_page_work_when_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for number in range(6):
        (tmp_path / "notes" / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    code = python_in("docs/training.md")
    for long, short in SHORTER.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    exec(compile(code, "training.md", "exec"), {})
    output = capsys.readouterr().out
    for name in ("SM+LN+G", "SM+ScFuFFN", "power4"):
        assert re.search(rf"^{re.escape(name)} [\d.]+ None$", output, re.MULTILINE)
        assert mpcinfer.load_config(f"runs/{name}").layers == 4
    assert mpcinfer.load_config("runs/ereg").temperature == "head"
