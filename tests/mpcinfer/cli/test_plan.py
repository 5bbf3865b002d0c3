"""`mpcinfer plan`: its file, its tables, and what other commands make of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.benchmark.rates import ALL, Rate, Rates
from mpcinfer.cli.main import app
from mpcinfer.cli.options import shape_of
from mpcinfer.plans import plan_from
from parties.errors import ConfigError


def run(*arguments: str, fails: bool = False) -> str:
    """What a command prints; it must succeed unless it is to fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code != 0) == fails, result.output
    return result.output if result.exception is None or not fails else str(result.exception)


@pytest.fixture
def rates(tmp_path: Path) -> str:
    """A file of rates, so that nothing is measured."""
    suites = {"fss": {ALL: Rate(2e-3, 1e-8)}, "crypten": {ALL: Rate(3e-3, 1e-8)}}
    made = Rates(model="tiny-python", tokens=32, machine="a test", measured="never", suites=suites)
    (tmp_path / "rates.json").write_text(json.dumps(made.to_json()))
    return str(tmp_path / "rates.json")


def test_a_plan_is_chosen_written_and_taken(rates: str, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    options = [
        "--objective",
        "bytes",
        "--tokens",
        "8",
        "--new-tokens",
        "2",
        "--rates",
        rates,
        "--out",
        str(out),
    ]
    said = run("plan", "tiny-python", "--network", "wan-100m", *options)
    plan = plan_from(str(out))
    assert plan.digest() in said
    assert said.count("(chosen)") == 1
    for operation in ("gelu", "maximum", "exponential"):
        assert operation in said
    written = json.loads(out.read_text())
    assert written["made_for"]["network"] == "wan-100m"
    assert written["predicted"]["digest"] == plan.digest()

    answer = json.loads(run("plan", "tiny-python", *options, "--json").partition("{")[2].join(["{", ""]))
    assert answer["plan"] == plan.to_json()
    assert answer["predicted"]["online_bytes"] <= min(each["online_bytes"] for each in answer["presets"])
    choices = [f"--set={operation}={name}" for operation, name in plan.choices.items()]
    of_file = run("cost", "tiny-python", "--tokens", "8", "--plan", str(out), "--json")
    assert json.loads(of_file) == json.loads(run("cost", "tiny-python", "--tokens", "8", *choices, "--json"))


def test_a_file_that_changes_is_counted_again(tmp_path: Path) -> None:
    path, answers = tmp_path / "plan.json", list[str]()
    for choices in ([], ["maximum=tree"]):
        path.write_text(json.dumps(plan_from("fss", choices).to_json()))
        answers.append(run("cost", "tiny-python", "--tokens", "4", "--plan", str(path), "--json"))
    assert answers[0] != answers[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--network", "wan-100"], "did you mean 'wan-100m'"),
        (["--bandwidth", "5Mbit"], "--latency"),
        (["--bandwidth", "5", "--latency", "1ms"], "expected a number and one of"),
        (["--out", "plan.toml"], "ends in .json"),
        (["--tokens", "100000"], "do not fit"),
        (["--rates", "missing.json"], "missing.json"),
        (["--max-error", "1e-12"], "no plan is left"),
    ],
)
def test_what_cannot_be_planned(options: list[str], says: str, rates: str, tmp_path: Path) -> None:
    given = ["--rates", rates, "--out", str(tmp_path / "plan.json"), *options]
    assert says in run("plan", "tiny-python", *given, fails=True)


def test_what_shaped_says() -> None:
    assert shape_of(None) is None
    shape = shape_of("wan-100m")
    assert shape is not None
    assert shape.latency_s == 0.040
    assert shape_of(shape.to_text()) == shape
    with pytest.raises(ConfigError, match="no network"):
        shape_of("wan")
