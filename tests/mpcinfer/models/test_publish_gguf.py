"""A GGUF file from its owner to a client: calibrated, published, and billed and dealt for without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from typer.testing import CliRunner

import mpcinfer
from mpcinfer.cli.main import app
from mpcinfer.models.load import has_weights
from tests.mpcinfer.models.gguf_files import both

ROPE = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
BLOCKS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "head_dim": 8}
MODELS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "llama, bytes": ("llama", False, {**BLOCKS, "rope_parameters": ROPE}),
    "gemma2, pieces": (
        "gemma2",
        True,
        {
            **BLOCKS,
            "rope_parameters": ROPE,
            "query_pre_attn_scalar": 8,
            "sliding_window": 5,
            "layer_types": None,
            "tie_word_embeddings": True,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 2.0,
        },
    ),
}
TEXT = "the x: ☃"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", MODELS)
def test_a_client_with_what_is_published_counts_and_deals(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers.utils.logging.set_verbosity_error()
    architecture, pieces, settings = MODELS[name]
    owner, client = tmp_path / "owner", tmp_path / "client"
    owner.mkdir()
    client.mkdir()
    file = both(owner, architecture, pieces=pieces, **settings)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the x the y\n\nth e x: y\n")
    run("calibrate", str(file), "--prompts", str(prompts), "--out", str(owner / "m.ranges.json"))
    digest = run("publish", str(file), "--out", str(client / "model")).split()[-1]
    public = mpcinfer.load_public(file)
    assert public.ranges
    bill = ("--tokens", "6", "--new-tokens", "2", "--json")
    expected = json.loads(run("cost", str(file), *bill))

    for each in sorted(owner.iterdir()):  # the client has its folder alone
        each.unlink()
    monkeypatch.chdir(client)
    read = mpcinfer.load_public("./model")
    assert digest == public.digest() == read.digest()
    assert not has_weights("./model")
    assert (read.config, read.ranges) == (public.config, public.ranges)
    ids = public.tokenizer.encode(TEXT)
    assert read.tokenizer.encode(TEXT) == ids
    assert read.tokenizer.decode(ids) == public.tokenizer.decode(ids)
    assert json.loads(run("cost", "./model", *bill)) == expected
    run("deal", "--model", "./model", "--prompt", "6", "--answer", "2", "--out", "bundles")
    for party in ("server", "client"):
        dealt = sum(path.stat().st_size for path in (client / "bundles" / party).rglob("*") if path.is_file())
        assert dealt > 1000  # seeds and keys, not a header alone
