"""Several prompts on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpcinfer.cli.batch import given
from parties.errors import ConfigError
from tests.mpcinfer.cli.test_commands import run


def test_prompts_come_from_the_command_line_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("import os\n\nclass Point:\n", encoding="utf-8")
    assert given(["a"], file) == ["a", "import os", "class Point:"]
    assert given([], file) == ["import os", "class Point:"]
    with pytest.raises(ConfigError, match="say what to complete"):
        given([], None)
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        given([], tmp_path / "nowhere")


def test_several_prompts_are_answered_as_one_by_one() -> None:
    options = ["--local", "plain", "--tokens", "3"]
    prompts = ["for i in", "import os"]
    answers = json.loads(run("generate", *prompts, *options, "--json"))["answers"]
    alone = [json.loads(run("generate", prompt, *options, "--json")) for prompt in prompts]
    assert [each["token_ids"] for each in answers] == [each["token_ids"] for each in alone]
    shown = run("generate", *prompts, *options)
    assert shown == "".join(
        f"[{i}] {p}{a['text']}\n" for i, (p, a) in enumerate(zip(prompts, answers, strict=True), 1)
    )


def test_a_batch_costs_the_rounds_of_one_and_is_refused_by_name() -> None:
    options = ["cost", "tiny-python", "--tokens", "8", "--json"]
    one, eight, equal = (
        json.loads(run(*options, *more))
        for more in ([], ["--batch", "8"], ["--batch", "8", "--equal-lengths"])
    )
    assert one["rounds"] == eight["rounds"] == equal["rounds"]
    online = [each["online_bytes_to_client"] for each in (one, equal, eight)]
    # Bits are packed by messages, which end on whole bytes: eight may take a few bytes less than eight ones.
    assert 8 * online[0] * 0.999 <= online[1] <= 8 * online[0]
    assert online[1] < online[2] < 1.1 * online[1]
    padded = json.loads(run(*options, "--pad"))
    assert padded["rounds"] == one["rounds"]
    assert online[0] < padded["online_bytes_to_client"] < 1.1 * online[0]
    for command, said in (
        (["cost", "tiny-power4", "--tokens", "8", "--batch", "8"], "attention=power"),
        (["cost", "tiny-python", "--tokens", "8", "--batch", "8", "--speculate", "2"], "speculate"),
        (["generate", "a", "b", "--local", "plain", "--speculate", "2"], "--speculate"),
        (["generate", *["a"] * 65, "--local", "plain"], "1 to 64"),
    ):
        assert said in run(*command, fails=True)
