"""`mpcinfer fold`: from a trained folder to one that is ready for private runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import mpcinfer
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.cli.main import app
from mpcinfer.cli.tables import human_bytes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.folder import load_model_folder, save_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.models.stored_ranges import save_ranges
from parties.errors import ConfigError
from tests.mpcinfer.variant_models import PROMPTS, variant_model

IDS = list(b"f(x, y")


def folder(path: Path, name: str) -> Path:
    save_model(path / "trained", variant_model(name), torch.float32)
    return path / "trained"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["fold", *arguments], env={"COLUMNS": "160"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def logits(model: Model) -> torch.Tensor:
    config, weights = static(model.config, {name: value.double() for name, value in model.weights.items()})
    backend = PlainBackend()
    return Decoder(backend, config, weights).forward(backend.tokens(IDS, len(IDS)), len(IDS))


def prompts(path: Path) -> str:
    (path / "prompts.txt").write_text("\n\n".join(PROMPTS))
    return str(path / "prompts.txt")


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_a_folded_model_is_the_same_and_cheaper(tmp_path: Path, plan: str) -> None:
    trained, out = folder(tmp_path, "SM(t)+ScFuFFN"), tmp_path / "folded"
    sample = prompts(tmp_path)
    text = run(str(trained), "--out", str(out), "--prompts", sample, "--plan", plan, "--tokens", "16")
    before, after = load_model_folder(trained), load_model_folder(out)
    assert after.config.ffn == "none"
    # Weights are kept in float32; bases of small random models are well conditioned.
    assert torch.allclose(logits(after), logits(before), rtol=0, atol=1e-4)
    assert "layer1.attn.qkv/linear" in after.ranges
    assert "head.input/linear" in after.ranges
    sizes = re.findall(r"^ *(?:before|after) +([\d,]+) +([\d.]+) (kB|MB)", text, re.MULTILINE)
    (rounds, online, unit), (fewer, less, same_unit) = sizes
    assert int(fewer.replace(",", "")) <= int(rounds.replace(",", ""))
    assert unit == same_unit
    assert float(less) < float(online)
    errors = [float(error) for error in re.findall(r"^ *(?:before|after) +(0\.\d+)\s*$", text, re.MULTILINE)]
    assert len(errors) == 2
    assert max(errors) < 0.1 * float(logits(before).std())
    assert re.search(r"the head +[\d.,]+", text)


def test_without_prompts_the_user_is_told_to_calibrate(tmp_path: Path) -> None:
    out = tmp_path / "folded"
    text = run(str(folder(tmp_path, "SM+ScFuFFN")), "--out", str(out))
    assert load_model_folder(out).ranges == {}
    assert "mpcinfer calibrate" in text


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_bills_are_of_the_same_widths(tmp_path: Path, plan: str) -> None:
    """A calibrated model that is folded without prompts: neither bill may profit from ranges."""
    trained, out = folder(tmp_path, "SM(t)+ScFuFFN"), tmp_path / "folded"
    run(str(trained), "--out", str(out), "--prompts", prompts(tmp_path))
    save_ranges(trained / "ranges.json", calibrate(load_model_folder(trained), PROMPTS))
    text = run(str(trained), "--out", str(out), "--plan", plan, "--tokens", "16")
    assert "default widths" in text
    before, after = (printed_bill(text, row) for row in ("before", "after"))
    for row, model in (("before", trained), ("after", out)):
        config = load_model_folder(model).config
        total = mpcinfer.cost(config, plan=plan, tokens=16, part="stack").total
        online = total.online_bytes_to_server + total.online_bytes_to_client
        offline = total.offline_bytes_to_server + total.offline_bytes_to_client
        sizes = [human_bytes(size) for size in (online, offline, total.setup_bytes)]
        assert printed_bill(text, row) == [f"{total.rounds:,}", *sizes]
    assert before != after


def printed_bill(text: str, row: str) -> list[str]:
    """A line of the bills as its cells."""
    [line] = [line for line in text.splitlines() if re.match(rf" *{row} .*[kM]B", line)]
    return re.split(r"\s{2,}", line.strip())[1:]


def test_bad_bases_keep_their_ffns(tmp_path: Path) -> None:
    trained, out = folder(tmp_path, "SM+ScFuFFN"), tmp_path / "folded"
    text = run(str(trained), "--out", str(out), "--largest-condition", "1")
    after = load_model_folder(out)
    assert after.config.ffn == "fused"
    assert after.config.pruned_ffns == 0
    assert "2 FFNs stay" in text
    assert torch.allclose(logits(after), logits(load_model_folder(trained)), rtol=0, atol=1e-4)


def test_powers_are_scaled(tmp_path: Path) -> None:
    trained, out = folder(tmp_path, "power4+SM+ScFuFFN"), tmp_path / "folded"
    text = run(str(trained), "--out", str(out), "--prompts", prompts(tmp_path))
    before, after = load_model_folder(trained), load_model_folder(out)
    assert after.config == dataclasses.replace(
        after.config, ffn="none", attention_scaled=True, attention_offset=True
    )
    assert torch.allclose(logits(after), logits(before), rtol=0, atol=1e-3)
    assert "scores divided by" in text


def test_models_that_do_not_fold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="norms"):
        run(str(folder(tmp_path, "SM+LN+G")), "--out", str(tmp_path / "folded"))
    assert not (tmp_path / "folded").exists()
