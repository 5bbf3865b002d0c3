"""The commands that need no other process: what they print, and what they say when something is wrong."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.cli.tables import print_bill
from parties.bill import Bill, BillRow

BILL_KEYS = {
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "seconds",
    "labels",
}


def run(*arguments: str, fails: bool = False) -> str:
    """What a command prints; it must succeed unless it is to fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code != 0) == fails, result.output
    return result.output if result.exception is None or not fails else str(result.exception)


def test_every_command_has_help_that_says_more_than_its_name() -> None:
    overview = run("--help")
    for command in (
        "demo",
        "serve",
        "dealer",
        "generate",
        "cost",
        "train",
        "calibrate",
        "models",
        "list",
        "keys",
    ):
        assert command in overview
        assert len(run(command, "--help")) > 500 or command in ("keys", "models", "list")


def test_models_lists_what_runs_and_what_is_billed() -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--json"))}
    assert rows["tiny-python"]["weights"]
    for name in ("gpt2", "gpt2-18l", "llama2-7b", "smollm2-135m-instruct"):
        assert rows[name]["parameters"] > 10**8
    assert not rows["gpt2"]["weights"]
    assert "llama2-7b" in run("models")


def test_a_counted_bill_as_json() -> None:
    bill = json.loads(run("cost", "gpt2", "--tokens", "128", "--part", "stack", "--json"))
    assert set(bill) >= BILL_KEYS
    assert bill["seconds"] is None
    for row in bill["labels"]:
        assert set(row) >= (BILL_KEYS - {"labels"}) | {"label", "kind"}
    for key in ("rounds", "online_bytes_to_server", "offline_bytes_to_server", "setup_bytes"):
        assert bill[key] == sum(row[key] for row in bill["labels"])


def test_the_stock_block_costs_what_was_measured_of_crypten() -> None:
    """188 rounds and 380.7 MB sent a party, twelve times."""
    bill = json.loads(
        run("cost", "gpt2", "--tokens", "128", "--plan", "crypten-stock", "--part", "stack", "--json")
    )
    assert bill["rounds"] == 12 * 188
    assert round(bill["online_bytes_to_server"] / 12 / 1e6, 1) == 380.7
    assert round(bill["online_bytes_to_client"] / 12 / 1e6, 1) == 380.7


def test_a_bill_as_a_table_by_layer_and_label() -> None:
    table = run("cost", "tiny-python", "--tokens", "4", "--new-tokens", "2", "--layers", "--labels")
    for text in ("softmax", "layer1", "layer2.ffn.in", "total"):
        assert text in table


@pytest.mark.parametrize("backend", ["plain", "fixed"])
def test_generate_without_privacy(backend: str) -> None:
    out = json.loads(run("generate", "for i in", "--local", backend, "--tokens", "2", "--json"))
    assert out["text"] == " range("
    assert len(out["token_ids"]) == 2
    assert out["bill"] is None


def test_drafts_are_counted_and_change_no_text() -> None:
    options = ["generate", "a b c d a b c d a b", "--local", "plain", "--tokens", "6", "--json"]
    plain, drafted = json.loads(run(*options)), json.loads(run(*options, "--speculate", "3"))
    assert drafted["token_ids"] == plain["token_ids"]
    assert plain["speculation"] is None
    counts = drafted["speculation"]
    assert 0 <= counts["accepted"] <= counts["drafted"] <= 3 * counts["passes"]
    assert counts["passes"] > 0


def test_a_bill_with_drafts_has_fewer_rounds() -> None:
    options = ["cost", "tiny-python", "--tokens", "8", "--new-tokens", "9", "--max-context", "32", "--json"]
    plain, all_right, none_right = (
        json.loads(run(*options, *more))
        for more in ([], ["--speculate", "2"], ["--speculate", "2", "--accepted", "0"])
    )
    assert plain["rounds"] == none_right["rounds"] == 3 * all_right["rounds"]
    assert plain["online_bytes_to_server"] < none_right["online_bytes_to_server"]


def test_a_bill_with_checked_ranges_has_the_second_evaluation_by_itself() -> None:
    asked = ["cost", "tiny-python", "--tokens", "4", "--json"]
    usual, checked = (json.loads(run(*asked, *more)) for more in ([], ["--check-ranges"]))
    assert checked["rounds"] == 2 * usual["rounds"]
    first = [row for row in checked["labels"] if not row["label"].startswith("check.")]
    assert first == usual["labels"]


def test_sampling_repeats_for_a_seed() -> None:
    options = ["generate", "def ", "--local", "plain", "--tokens", "8", "--temperature", "1", "--seed"]
    assert run(*options, "5") == run(*options, "5")
    assert len({run(*options, str(seed)) for seed in range(4)}) > 1


def test_keys_are_made_once_and_shown(tmp_path: Path) -> None:
    run("keys", "new", "server", "client", "--dir", str(tmp_path))
    assert stat.S_IMODE((tmp_path / "server.secret").stat().st_mode) == 0o600
    shown = run("keys", "show", str(tmp_path / "server.secret")).strip()
    assert shown == run("keys", "show", str(tmp_path / "server.public")).strip()
    assert len(shown) == 40
    assert "never overwritten" in run("keys", "new", "server", "--dir", str(tmp_path), fails=True)


ALONE = ["serve", "--plan", "two-party", "--key", "a", "--client-key", "b"]
PRIVATELY = ["--local", "private", "--plan", "two-party"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "x"], "say where the server is"),
        (["generate", "x", "--local", "plain", "--model", "gtp2"], "did you mean gpt2"),
        (["generate", "x", "--local", "plain", "--model", "gpt2"], "no weights"),
        (["generate", "x", "--local", "plain", "--chat"], "no chat template"),
        (["cost", "gpt2", "--tokens", "5000"], "context of 1024"),
        (["cost", "gpt2", "--plan", "crytpen"], "did you mean 'crypten'"),
        (["cost", "gpt2", "--set", "gelu=foo"], "gelu has no protocol 'foo'"),
        (["cost", "gpt2", "--plan", "crypten", "--set", "linear=foo"], "linear has no protocol 'foo'"),
        (
            ["cost", "tiny-python", "--plan", "crypten", "--check-ranges"],
            "--check-ranges is for plans of the",
        ),
        (["cost", "gpt2", "--check-ranges"], "ranges are checked of calibrated models"),
        (["generate", "x", "--local", "fixed", "--check-ranges"], "--local fixed by itself names"),
        (
            ["generate", "x", "--local", "private", "--plan", "crypten", "--check-ranges"],
            "--check-ranges is for plans of the",
        ),
        (["cost", "gpt2", "--set", "fold=no"], "has no operation 'fold'"),
        (["cost", "gpt2", "--set", "gelu"], "OPERATION=PROTOCOL"),
        (["generate", "x", "--local", "plain", "--draft-model", "tiny-power4"], "--speculate N"),
        (["generate", "x", "--correlations", "m", "--speculate", "2"], "let a dealer make the correlations"),
        (
            ["generate", "x", "--local", "plain", "--speculate", "2", "--draft-model", "tiny-power4"],
            "must share the tokenizer",
        ),
        (["cost", "gpt2", "--speculate", "2", "--accepted", "3"], "all or fewer of them right"),
        (["serve", "--key", "a", "--client-key", "b", "--dealer-key", "c"], "cannot read the key file"),
        ([*ALONE, "--dealer-key", "c"], "--dealer-key: plan two-party has no dealer"),
        (["prepare", "--out", "x", "--key", "a"], "--client-key at the server, --server-key at the client"),
        (["prepare", "--out", "x", "--key", "a", "--server-key", "b"], "--prompt: say how many tokens"),
        ([*ALONE, "--insecure-dealer"], "--insecure-dealer: plan two-party has no dealer"),
        (ALONE, "cannot read the key file"),
        (["generate", "x", "--plan", "two-party"], "--server, --server-key and --key; or"),
        (["generate", "x", *PRIVATELY, "--insecure-dealer"], "insecure_dealer: plan two-party has no dealer"),
        (["generate", "x", *PRIVATELY, "--check-ranges"], "--verify compares with the model"),
        (["generate", "x", *PRIVATELY, "--correlations", "c"], "--correlations: --local private takes none"),
        (["generate", "x", "--local", "private", "--correlations", "c"], "connect to a server that has the"),
        (["embed", "x", "--local", "fixed", "--correlations", "c"], "--correlations: --local fixed takes"),
        (
            [
                "deal",
                "--plan",
                "two-party",
                "--model",
                "tiny-python",
                "--prompt",
                "4",
                "--answer",
                "1",
                "--count",
                "1",
                "--out",
                "x",
            ],
            "two-party has no dealer: the two parties make all correlations themselves, so nothing can be",
        ),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], message: str) -> None:
    assert message in run(*arguments, fails=True)


def test_a_note_from_the_peer_is_printed_as_it_is_and_moves_no_cursor() -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    print_bill(console, Bill(rows=[], notes=["[bold]loud[/bold]\x1b[2J\r end"]))
    assert "note: [bold]loud[/bold][2J end" in console.export_text()


def test_rows_of_a_bill_in_which_nothing_is_are_left_out() -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    rows = [BillRow(label="setup", kind="setup"), BillRow(label="in", kind="linear", rounds=2)]
    print_bill(console, Bill(rows=rows))
    said = console.export_text()
    assert "linear" in said
    assert "setup" not in said


def test_no_number_of_a_bill_is_cut() -> None:
    row = BillRow(
        label="layernorm",
        kind="layernorm",
        rounds=12_345,
        online_bytes_to_server=14_800_000,
        online_bytes_to_client=14_700_000,
        offline_bytes_to_server=150_000_000,
        offline_rounds=7,
        setup_bytes=15_100_000,
        wire_bytes_to_server=29_600_000,
        seconds=1.25,
    )
    for width, terminal in ((80, True), (60, True), (60, False), (200, True)):
        console = Console(record=True, width=width, file=io.StringIO(), force_terminal=terminal)
        print_bill(console, Bill(rows=[row]))
        said = console.export_text()
        assert "…" not in said
        assert "14.8 MB" in said
        assert ("29.6 MB" in said) or "left out for a terminal of" in said
        assert "29.6 MB" in said or terminal


def test_an_error_is_one_line_and_status_1() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mpcinfer.cli.main", "cost", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("ConfigError: no model named 'nothing'")
    assert "Traceback" not in result.stderr
