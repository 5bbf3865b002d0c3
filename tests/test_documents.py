"""The code in the documents does what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mpcinfer
from parties.meter import CLIENT, Meter
from protocols.cleartext import IdealCleartextArithmetic
from protocols.counting import CountingArithmetic
from protocols.share import Share

ROOT = Path(__file__).resolve().parent.parent


def python_in(document: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def example_protocol() -> Any:
    names: dict[str, Any] = {}
    exec(compile(python_in("docs/adding-a-protocol.md"), "adding-a-protocol.md", "exec"), names)
    return names["HardGelu"]()


def test_the_example_protocol_keeps_its_stated_error() -> None:
    protocol = example_protocol()
    x = torch.cat([torch.linspace(-4.0, 4.0, 4001), torch.tensor([*protocol.domain])]).double()
    engine = IdealCleartextArithmetic(Meter())
    y = engine.open_to(CLIENT, protocol(engine, engine.share_from(CLIENT, x, x.shape)))
    error = float((y - torch.nn.functional.gelu(x)).abs().max())
    assert 0.9 * protocol.max_abs_error < error <= protocol.max_abs_error  # stated, and not much too large


def test_the_example_protocol_costs_what_it_says() -> None:
    protocol = example_protocol()
    [(rounds, element_bytes)] = re.findall(r"(\d+) rounds and ([\d.]+) bytes an element", protocol.__doc__)
    meter = Meter(timed=False)
    engine = CountingArithmetic(meter)
    protocol(engine, Share(torch.empty(8, dtype=torch.int64, device="meta"), engine.frac_bits))
    total = meter.bill().total
    assert (total.rounds, total.online_bytes_to_server) == (int(rounds), 8 * float(element_bytes))


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
    counted = mpcinfer.cost("tiny-python", tokens=len(prompt), new_tokens=passes)
    assert bill.total.rounds == counted.total.rounds
    assert bill.total.online_bytes_to_server == counted.total.online_bytes_to_server
