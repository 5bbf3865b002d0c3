"""Options by one rule: command line, then environment, then file, then default; what is wrong is named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.cli.settings import SECTIONS, forget_environment
from parties.keys import load_secret, new_keypair

KEYS = ["--key", "own.secret", "--client-key", "client.public"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MPCINFER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "300")


def shown(*arguments: str) -> dict[str, tuple[str, str]]:
    """Every option's value and where it is from."""
    result = CliRunner().invoke(app, [*arguments, "--show-config"])
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, tuple[str, str]] = {}
    head, *rows = result.output.splitlines()
    value, source = head.index("value"), head.index("from")
    for row in rows:
        found[row[:value].strip()] = (row[value:source].strip(), row[source:].strip())
    return found


def refusal(*arguments: str) -> str:
    """What a command line that is refused is told."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code != 0
    return re.sub(r"\s+", " ", result.output + str(result.exception))


def config(tmp_path: Path, text: str) -> str:
    (tmp_path / "mpcinfer.toml").write_text(text, encoding="utf-8")
    return f"--config={tmp_path / 'mpcinfer.toml'}"


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("file", [True, False])
def test_what_comes_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: bool, variable: bool, file: bool
) -> None:
    given = [*KEYS, "--idle=11"] if flag else KEYS
    if variable:
        monkeypatch.setenv("MPCINFER_SERVE_IDLE", "22")
    given = [*given, config(tmp_path, "[serve]\nidle = 33\n")] if file else given
    expected = ("600.0", "default")
    expected = ("33.0", str(tmp_path / "mpcinfer.toml")) if file else expected
    expected = ("22.0", "MPCINFER_SERVE_IDLE") if variable else expected
    expected = ("11.0", "command line") if flag else expected
    assert shown("serve", *given)["idle"] == expected


def test_every_kind_of_value_can_be_said_in_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(
        tmp_path,
        '[serve]\nkey = "k.secret"\nclient-key = "c.public"\ncheck-ranges = true\ncache = "state"\n'
        'chunk = 8\ntimeout = 2.5\n[serve.set]\ngelu = "fine"\nsoftmax = "exact"\n[proxy]\nport = 1\n',
    )
    found = shown("serve", file)
    expected = {
        "key": "k.secret",
        "client_key": "c.public",
        "check_ranges": "true",
        "cache": "state",
        "chunk": "8",
        "timeout": "2.5",
        "set": "gelu=fine softmax=exact",
    }
    assert {name: found[name][0] for name in expected} == expected
    said = {**expected, "set": "gelu=fine"}
    for name, value in said.items():
        monkeypatch.setenv(f"MPCINFER_SERVE_{name.upper()}", value)
    found = shown("serve")
    assert {name: found[name] for name in said} == {
        name: (value, f"MPCINFER_SERVE_{name.upper()}") for name, value in said.items()
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_the_file_itself_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    config(tmp_path, f"[{section}]\ntimeout = 7\n")
    monkeypatch.setenv(f"MPCINFER_{section.upper()}_CONFIG", str(tmp_path / "mpcinfer.toml"))
    keys = {"serve": KEYS, "dealer": [*KEYS, "--server-key=s.public"], "proxy": []}[section]
    assert shown(section, *keys)["timeout"] == ("7.0", str(tmp_path / "mpcinfer.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[serve]\nidel = 3\n", r"\[serve\] idel is no option; did you mean idle\?"),
        ("[server]\nidle = 3\n", r"under server; did you mean serve\?"),
        ("idle = 3\n", r"no command has options under idle; known: dealer, proxy, serve"),
        ("serve = 3\n", r"serve: expected a table"),
        ('[serve]\nidle = "3"\n', r"\[serve\] idle: expected a number, got '3'"),
        ("[serve]\nkey = 3\n", r"\[serve\] key: expected a path, got 3"),
        ("[serve]\nchunk = 1.5\n", r"\[serve\] chunk: expected a whole number, got 1.5"),
        ("[serve]\nonce = 1\n", r"\[serve\] once: expected true or false, got 1"),
        ('[serve]\ncache = "x"\n', r"\[serve\] cache: expected one of kv, state, got 'x'"),
        ("[serve]\nset = 3\n", r"\[serve\] set: expected a table"),
        ("[serve]\nidle = 0.5\n", r"mpcinfer\.toml: idle: "),
        ("[serve]\nshow-config = true\n", r"show-config is no option"),
        ("[serve\n", r"not a TOML file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert re.search(told, refusal("serve", *KEYS, config(tmp_path, text)))


def test_there_is_no_such_file(tmp_path: Path) -> None:
    assert "No such file" in refusal("serve", *KEYS, f"--config={tmp_path / 'none.toml'}")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MPCINFER_SERVE_IDEL", "3", "did you mean MPCINFER_SERVE_IDLE?"),
        ("MPCINFER_SERVE_IDLE", "soon", "MPCINFER_SERVE_IDLE: idle: "),
        ("MPCINFER_SERVE_IDLE", "0.5", "MPCINFER_SERVE_IDLE: idle: "),
        ("MPCINFER_SERVE_SHOW_CONFIG", "1", "is no option"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    assert told in refusal("serve", *KEYS)


def test_variables_of_other_commands_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPCINFER_DEALER_IDEL", "3")
    monkeypatch.setenv("MPCINFER_CACHE_DIR", "/somewhere")
    assert shown("serve", *KEYS)["idle"] == ("600.0", "default")


def test_a_key_in_place_of_its_file_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_keypair(tmp_path, "own")
    secret = load_secret(tmp_path / "own.secret").secret
    whole = (tmp_path / "own.secret").read_text(encoding="utf-8")
    for held in (secret, whole):
        monkeypatch.setenv("MPCINFER_SERVE_KEY", held)
        told = refusal("serve", "--client-key=c.public")
        assert "MPCINFER_SERVE_KEY holds a key: say the path of its file" in told
        assert secret not in told
    monkeypatch.delenv("MPCINFER_SERVE_KEY")
    told = refusal("serve", "--client-key=c.public", config(tmp_path, f"[serve]\nkey = '{secret}'\n"))
    assert "key holds a key: say the path" in told
    assert secret not in told


def test_what_a_command_starts_is_told_by_its_command_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPCINFER_SERVE_IDLE", "3")
    monkeypatch.setenv("MPCINFER_CACHE_DIR", "/somewhere")
    forget_environment()
    assert "MPCINFER_SERVE_IDLE" not in os.environ
    assert os.environ["MPCINFER_CACHE_DIR"] == "/somewhere"
