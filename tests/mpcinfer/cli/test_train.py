"""`mpcinfer train` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from mpcinfer.cli.toml_options import toml_options
from mpcinfer.cli.train import train
from mpcinfer.cli.train_options import TrainOptions
from mpcinfer.cli.train_settings import run_options
from mpcinfer.models.folder import load_model_folder
from mpcinfer.training.options import RunOptions
from parties.errors import ConfigError

app = typer.Typer(add_completion=False)
app.command()(train)
SMALL = ["--layers", "1", "--width", "16", "--heads", "2", "--vocabulary", "270", "--context", "16"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_teaches() -> None:
    output = run("--help")
    words = (
        "--data",
        "--layers",
        "--steps",
        "--resume",
        "--minutes",
        "log.jsonl",
        "--protect",
        "--accelerate",
    )
    for word in (*words, "--rate-control", "--protect-gamma", "nats"):
        assert word in output


def test_three_steps_then_more(text: Path) -> None:
    out = text / "small"
    output = run(str(out), "--data", str(text), *SMALL, "--steps", "3", "--batch", "2", "--decay", "0")
    assert "3 steps" in output
    assert load_model_folder(out).config.layers == 1
    assert "5 steps" in run(str(out), "--resume", "--steps", "5")
    steps = [json.loads(line)["step"] for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [0, 1, 2, 3, 4, 5]


def test_minutes_choose_the_steps(text: Path) -> None:
    out = text / "small"
    run(str(out), "--data", str(text), *SMALL, "--minutes", "0.01", "--precision", "float32")
    steps = json.loads((out / "training" / "run.json").read_text())["recipe"]["steps"]
    last = json.loads((out / "training" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "10", "--heads", "4"], "multiple of --heads"),
        (["--steps", "3", "--minutes", "1"], "not both"),
        (["--resume"], "nothing to resume"),
        (["--protect-gamma", "2"], "--protect-gamma: give --protect FILE"),
        (["--protect", "no-such-file"], "--protect no-such-file: no such file or folder"),
        (["--protect", __file__], "nothing to protect"),
        (["--accelerate", "reject", "--protect-floor", "0.5"], "--protect-floor: give --protect FILE"),
    ],
)
def test_what_does_not_fit_is_refused(text: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(str(text / "small"), "--data", str(text), *arguments)


def test_unknown_precision_is_refused(text: Path) -> None:
    result = CliRunner().invoke(app, [str(text / "small"), "--precision", "float8"])
    assert result.exit_code == 2
    assert "bfloat16" in result.output


def test_resume_refuses_another_shape(text: Path) -> None:
    run(str(text / "small"), "--data", str(text), *SMALL, "--steps", "2", "--batch", "2")
    with pytest.raises(ConfigError, match="model shape differs"):
        run(str(text / "small"), "--resume", "--layers", "2")


def config_file(text: Path, content: str) -> str:
    path = text / "run.toml"
    path.write_text(content)
    return str(path)


def test_a_config_file_gives_options_and_the_command_line_wins(text: Path) -> None:
    config = config_file(
        text,
        f"""
        out = "{text / "small"}"
        data = "{text}"
        variant = "SM(t)+ScFuFFN"
        layers = 1
        width = 16
        heads = 2
        vocabulary = 270
        context = 16
        steps = 9
        batch = 2
        lr = 1e-3
        clip = 2
        schedule = "cosine"
        entropy_strength = 1e-3
        entropy-tolerance = 0.1
        range_scores = 3
        on-divergence = "record"
        [shape]
        final_norm = false
        """,
    )
    run("--config", config, "--steps", "2", "--first-temperature", "0.5")
    stored = json.loads((text / "small" / "training" / "run.json").read_text())
    shape, recipe = stored["config"], stored["recipe"]
    assert (shape["ffn"], shape["temperature"], shape["final_norm"]) == ("fused", "head", False)
    assert (recipe["steps"], recipe["clip"], recipe["schedule"]) == (2, 2.0, "cosine")
    assert (recipe["first_temperature"], recipe["on_divergence"]) == (0.5, "record")
    assert (stored["penalty"]["strength"], stored["penalty"]["tolerance"]) == (1e-3, 0.1)
    assert stored["ranges"] == {
        "strength": 0.3,
        "scores": 3.0,
        "variance": None,
        "activations": None,
    }
    lines = [
        json.loads(line) for line in (text / "small" / "training" / "log.jsonl").read_text().splitlines()
    ]
    step = next(line for line in lines if line["step"] == 1)
    assert {"loss", "entropy_penalty", "range_penalty", "rate", "tokens_per_second"} <= set(step)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps = ", "not a TOML file"),
        ("stepz = 3", "stepz is no option of this command; did you mean steps"),
        ('steps = "three"', "steps: expected a whole number, got 'three'"),
        ("steps = true", "steps: expected a whole number"),
        ("steps = 2.5", "steps: expected a whole number"),
        ('lr = "fast"', "lr: expected a number"),
        ("data = 3", "data: expected text"),
        ("resume = 1", "resume: expected true or false"),
        ('schedule = "square"', "schedule: expected one of linear, cosine, constant"),
        ("[shape]\nwidths = 3", "expected FIELD=VALUE, a field of"),
        ('[shape]\nnorm = "batchnorm"', "expected layernorm or rmsnorm or .*, got 'batchnorm'"),
        ('variant = "SM+XX"', "no variant"),
        ("workers = 0", "at least 1"),
    ],
)
def test_a_config_file_with_nonsense_is_refused(text: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(str(text / "small"), "--data", str(text), "--config", config_file(text, content))


def test_out_is_needed() -> None:
    with pytest.raises(ConfigError, match="give OUT"):
        run("--steps", "2")


def test_ereg_switches_the_penalty_on(text: Path) -> None:
    run(str(text / "small"), "--data", str(text), *SMALL, "--steps", "1", "--variant", "EReg(SM(t)+ScFuFFN)")
    assert json.loads((text / "small" / "training" / "run.json").read_text())["penalty"]["strength"] == 1e-5


def test_another_variant_begins_from_a_trained_model(text: Path) -> None:
    run(str(text / "small"), "--data", str(text), *SMALL, "--steps", "2", "--batch", "2")
    first = str(text / "small")
    output = run(
        str(text / "other"), "--data", first, "--from", first, "--variant", "SM+ScFuFFN", "--steps", "1"
    )
    assert "weights kept" in output
    assert "begun anew" in output
    assert load_model_folder(text / "other").config.ffn == "fused"
    with pytest.raises(ConfigError, match="--vocabulary"):
        run(str(text / "third"), "--data", first, "--from", first, "--vocabulary", "300")
    with pytest.raises(ConfigError, match="--from is for a new run"):
        run(first, "--resume", "--from", first)


def test_the_documented_file_is_one(tmp_path: Path) -> None:
    """The example in docs/training.md: every key an option, every value accepted."""
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    (tmp_path / "run.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    given = toml_options(tmp_path / "run.toml", get_type_hints(TrainOptions))
    options = run_options(given, None)
    assert options.config.ffn == "fused"
    assert options.config.temperature == "head"
    assert options.recipe.accumulate == 2
    assert options.penalty is not None
    assert options.penalty.gate == "hinge"
    assert options.ranges is not None
    assert options.ranges.variance == 300.0
    assert RunOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_protected_text_and_controlled_steps(text: Path) -> None:
    """From the command line to the record, and on without a word of it."""
    out = text / "small"
    options = ["--steps", "3", "--batch", "2", "--decay", "0", "--protect", str(text / "3.txt")]
    more = ["--protect-gamma", "2", "--accelerate", "reject", "--rate-control", "rdbd"]
    output = run(str(out), "--data", str(text), *SMALL, *options, *more)
    assert "training tokens are protected" in output
    stored = json.loads((out / "training" / "run.json").read_text())
    assert stored["protection"] == {"gamma": 2.0, "floor": 0.25, "warmup": 0}
    assert stored["recipe"]["accelerate"] == "reject"
    assert stored["recipe"]["rate_control"] == "rdbd"
    run(str(out), "--resume", "--steps", "5")
    steps = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    last = next(line for line in steps if line["step"] == 5)
    assert {"protected_penalty", "rejected_moves", "rate_factor", "agreement"} <= set(last)
    card = (out / "README.md").read_text()
    assert "steps against the gradient rejected, rate controlled by RDBD, gradient norm" in card
    for option, message in (("--protect", "--protect is for a new run"), ("--protect-gamma", "differs")):
        with pytest.raises(ConfigError, match=message):
            run(str(out), "--resume", option, "3")
