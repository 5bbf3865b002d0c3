"""Public prefixes on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.mpcinfer.cli.test_commands import run

PREFIX, PROMPT = "def read(path):\n    with open(path", ") as file"


def test_a_prefix_is_a_file_or_a_text_and_comes_before_the_prompt(tmp_path: Path) -> None:
    file = tmp_path / "prefix.txt"
    file.write_text(PREFIX, encoding="utf-8")
    for local in ("plain", "fixed"):
        options = ["--local", local, "--tokens", "4", "--json"]
        whole = json.loads(run("generate", PREFIX + PROMPT, *options))["token_ids"]
        for given in (PREFIX, str(file)):
            after = run("generate", PROMPT, "--public-prefix", given, *options)
            assert json.loads(after)["token_ids"] == whole


def test_a_prefix_is_counted_and_refused_by_name(tmp_path: Path) -> None:
    count = ["cost", "tiny-python", "--tokens", "8", "--json"]
    alone, after = (json.loads(run(*count, *more)) for more in ([], ["--public-prefix-tokens", "32"]))
    assert alone["rounds"] == after["rounds"]
    assert alone["setup_bytes"] < after["setup_bytes"]
    file = tmp_path / "empty.txt"
    file.touch()
    for command, said in (
        (["generate", "x", "--local", "plain", "--public-prefix", ""], "public prefix is empty"),
        (["generate", "x", "--local", "plain", "--public-prefix", str(file)], "public prefix is empty"),
        (["generate", "x", "--local", "plain", "--public-prefix", "headr.py"], "there is no such file"),
        (["generate", "x", "--local", "plain", "--public-prefix", str(tmp_path)], "there is no such file"),
        ([*count, "--public-prefix-tokens", "8", "--prefix", "square"], "take one of them"),
        (["generate", "x", "--local", "plain", "--public-prefix", "y " * 600], "leaves no room"),
        (["generate", "x", "--local", "plain", "--public-prefix", "y", "--chat"], "no chat template"),
        (["chat", "--local", "plain", "--public-prefix", "y", "--system", "z"], "leave --system out"),
        ([*count, "--plan", "two-party", "--public-prefix-tokens", "8"], "two-party runs whole texts"),
    ):
        assert said in run(*command, fails=True)
