"""LARICL, RICL and one step on predictions that are known functions of weights, and by answers of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mpcinfer.clear import ClearModel
from mpcinfer.cli.main import app
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.black_box import AskedPredictions
from mpcinfer.prompt_weights.document import load_weights
from mpcinfer.prompt_weights.fitting import laricl, linear_step, one_step, ricl, validation_loss
from mpcinfer.prompt_weights.in_the_clear import ClearPredictions
from mpcinfer.prompt_weights.task import Example, FewShot, read_examples
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from tests.mpcinfer.test_prompt_weights import SMALL, told_apart
from tests.mpcinfer.three_parties import random_model, run_model

DOUBLE = torch.float64
RIGHT = torch.tensor([0, 1, 0, 1])
VOTES = torch.tensor([[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]], dtype=DOUBLE)
"""For how each of four questions is answered by three examples: the first is right, the last wrong."""


def voted(weights: torch.Tensor) -> torch.Tensor:
    """Attention to examples that vote for label 0 or 1, [W, 4, 2]."""
    shares = weights / weights.sum(-1, keepdim=True)
    return torch.softmax(torch.stack([shares @ VOTES.T, -shares @ VOTES.T], -1), -1)


def test_laricl_is_the_ridge_regression_of_what_a_linear_model_lacks() -> None:
    """Of a model that is linear in w differences are its slopes, and the normal equations hold."""
    slopes = torch.randn(4, 2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3)) * 0.1

    def linear(weights: torch.Tensor) -> torch.Tensor:
        return 0.5 + torch.einsum("ncm,wm->wnc", slopes, weights - 1)

    weights = laricl(linear, RIGHT, 3, ridge=0.5)
    jacobian = slopes.flatten(0, 1)
    lacking = (torch.nn.functional.one_hot(RIGHT, 2).double() - 0.5).flatten()
    change = weights - 1
    slope = jacobian.T @ (jacobian @ change - lacking) / 4 + 0.5 * change
    assert (weights > 0).all()
    assert slope.abs().max() < 1e-12
    assert torch.equal(weights, laricl(linear, RIGHT, 3, ridge=0.5, step=0.5))


def test_every_method_finds_who_is_right_and_lowers_the_loss() -> None:
    before = validation_loss(voted(torch.ones(1, 3, dtype=DOUBLE))[0], RIGHT)
    for weights in (laricl(voted, RIGHT, 3), ricl(voted, RIGHT, 3), one_step(voted, RIGHT, 3)):
        assert weights[0] > weights[1] >= weights[2]
        assert validation_loss(voted(weights[None])[0], RIGHT) < before
        assert float(weights.min()) >= 0


def test_one_step_has_mean_one_and_nothing_for_who_is_wrong() -> None:
    weights = one_step(voted, RIGHT, 3)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[2]) == 0.0


def test_ricl_keeps_the_best_of_its_steps() -> None:
    losses = list[float]()
    weights = ricl(voted, RIGHT, 3, rate=0.5, steps=4, on_step=lambda done, of, loss: losses.append(loss))
    assert len(losses) == 4
    assert float(validation_loss(voted(weights[None])[0], RIGHT)) <= min(losses)


def test_arguments_out_of_range_and_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="ridge above 0"):
        laricl(voted, RIGHT, 3, ridge=0.0)
    with pytest.raises(ConfigError, match="step is in"):
        laricl(voted, RIGHT, 3, step=2.0)
    with pytest.raises(ConfigError, match="rate is above 0"):
        ricl(voted, RIGHT, 3, rate=0.0)
    with pytest.raises(ConfigError, match="all weights would be 0"):
        linear_step(torch.ones(4, 1, dtype=DOUBLE), -10 * torch.ones(4, dtype=DOUBLE), 4, 0.1)
    wrong = torch.ones(1, 1, dtype=DOUBLE)
    with pytest.raises(ConfigError, match="one step: all weights would be 0"):
        one_step(
            lambda w: torch.stack([-w, w], -1).softmax(-1), torch.zeros(1, dtype=torch.int64), len(wrong)
        )


# -- tasks ---------------------------------------------------------------------------------------------------


def lines(file: Path, *pairs: tuple[str, str]) -> Path:
    file.write_text("".join(json.dumps({"input": a, "output": b}) + "\n" for a, b in pairs))
    return file


def test_files_of_examples_are_read_and_others_refused(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", ("a", "x"), ("b", "y"))
    assert read_examples(file) == [Example("a", "x"), Example("b", "y")]
    for text, said in (
        ("{", "line 1 is no JSON"),
        ('{"input": "a"}', "line 1 is not"),
        ("[]", "line 1 is not"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_examples(file)
    file.write_text('{"input": " ", "output": "x"}')
    with pytest.raises(ConfigError, match="empty input"):
        read_examples(file)


def test_labels_that_one_token_does_not_tell_apart_are_refused() -> None:
    public = PublicModel.of(random_model(SMALL))
    with pytest.raises(ConfigError, match="two labels or more"):
        FewShot.of(public, [Example("a", "x")], [Example("b", "x")])
    with pytest.raises(ConfigError, match="begin with the same token"):
        FewShot.of(public, [Example("a", "xy")], [Example("b", "xz")])
    with pytest.raises(ConfigError, match="at least one example"):
        FewShot.of(public, [], [Example("b", "x")])


def test_laricl_by_private_answers_is_that_in_the_clear_and_every_weighting_sends_the_same() -> None:
    model = random_model(SMALL)
    shots, known = [Example("a", "x"), Example("b", "y")], [Example("c", "x"), Example("d", "y")]
    task = told_apart(shots, known)
    sent = list[tuple[int, int, int]]()

    def use(steps: StepClient) -> torch.Tensor:
        client = PrivateClient(PublicModel.of(model), steps, None)
        asked = AskedPredictions(client, task)

        def predict(weights: torch.Tensor) -> torch.Tensor:
            rows = list[torch.Tensor]()
            for row in weights:
                before = client.bill_so_far().total
                rows.append(asked(row[None]))
                after = client.bill_so_far().total
                up = after.online_bytes_to_server - before.online_bytes_to_server
                down = after.online_bytes_to_client - before.online_bytes_to_client
                sent.append((after.rounds - before.rounds, up, down))
            return torch.cat(rows)

        return predict(torch.tensor([[1.0, 1.0], [0.5, 1.0], [1.0, 0.5]], dtype=DOUBLE))

    found, _, _ = run_model(model, get_plan("fss-faithful"), use, max_context=80)
    assert len(sent) == 3
    assert len(set(sent)) == 1
    room = ClearModel(model, fixed_point=True, plan="fss-faithful", max_context=80)
    rows = torch.tensor([[1.0, 1.0], [0.5, 1.0], [1.0, 0.5]], dtype=DOUBLE)
    assert torch.equal(found, AskedPredictions(room, task)(rows))


def test_gradients_are_what_differences_are() -> None:
    """Central differences of 1e-4 in a float64 model have an error of 1e-8 and a rounding of 1e-11."""
    model = random_model(SMALL)
    doubled = type(model)(
        name=model.name,
        config=model.config,
        weights={name: w.double() for name, w in model.weights.items()},
        tokenizer=model.tokenizer,
        ranges=model.ranges,
    )
    shots, known = [Example("a", "x"), Example("b", "y")], [Example("c", "x")]
    predict = ClearPredictions(doubled, told_apart(shots, known))
    at = torch.tensor([[0.7, 1.3]], dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(predict(at)[0, 0, 0], at)
    for i in range(2):
        step = torch.zeros(1, 2, dtype=DOUBLE)
        step[0, i] = 1e-4
        up, down = (predict(at.detach() + sign * step)[0, 0, 0] for sign in (1, -1))
        assert float(slope[0, i]) == pytest.approx(float(up - down) / 2e-4, abs=1e-7)


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_writes_weights_that_generate_reads(tmp_path: Path) -> None:
    shots = lines(tmp_path / "shots.jsonl", ("1", "odd"), ("2", "odd"), ("3", "even"))
    known = lines(tmp_path / "known.jsonl", ("5", "odd"), ("4", "even"))
    out = tmp_path / "weights.json"
    ran = CliRunner().invoke(
        app,
        ["reweight", "tiny-python", "--examples", str(shots), "--validation", str(known), "--out", str(out)],
    )
    assert ran.exit_code == 0, ran.output
    weights = load_weights(out)
    assert weights.examples[0] == "Input: 1\nOutput: odd"
    prompt = "\n\n".join([*weights.examples, "Input: 7\nOutput:"])
    around = ["--local", "plain", "--tokens", "1", "--prompt-weights", str(out)]
    assert CliRunner().invoke(app, ["generate", prompt, *around]).exit_code == 0
    refused = CliRunner().invoke(app, ["generate", "another prompt", *around])
    assert isinstance(refused.exception, ConfigError)
    assert "lacks example 1" in str(refused.exception)


def test_gradients_of_private_runs_are_refused(tmp_path: Path) -> None:
    shots = lines(tmp_path / "shots.jsonl", ("1", "odd"), ("2", "even"))
    files = ["--examples", str(shots), "--validation", str(shots), "--out", str(tmp_path / "w.json")]
    ran = CliRunner().invoke(app, ["reweight", "tiny-python", *files, "--method", "ricl", "--private"])
    assert isinstance(ran.exception, ConfigError)
    assert "--private is for laricl" in str(ran.exception)
