"""--buckets and --exact-lengths."""

from __future__ import annotations

import pytest

from mpcinfer.cli.lengths import NOTHING_SAID, wanted_lengths
from mpcinfer.cli.options import Local
from mpcinfer.models.buckets import DEFAULT_BUCKETS, DEFAULT_SIZES
from parties.errors import ConfigError
from tests.mpcinfer.cli.test_commands import run


def test_a_server_elsewhere_is_asked_where_nothing_is_said() -> None:
    wanted = wanted_lengths(None, None)
    assert (wanted.buckets, wanted.ask) == (DEFAULT_BUCKETS, True)
    for local in Local:
        assert wanted_lengths(None, local, exact=True) == wanted_lengths(None, local) == NOTHING_SAID


def test_what_is_said_is_done_and_nobody_is_asked() -> None:
    for local in (None, Local.PRIVATE):
        wanted = wanted_lengths("default", local)
        assert wanted.buckets is not None
        assert (wanted.buckets.sizes, wanted.buckets.where_possible, wanted.ask) == (
            DEFAULT_SIZES,
            False,
            False,
        )
    for wanted, why in (
        (wanted_lengths(None, None, exact=True), "--exact-lengths"),
        (wanted_lengths("none", None), "--buckets none"),
        (wanted_lengths(None, None, verify=True), "--verify compares without padding"),
    ):
        assert wanted.buckets is not None
        assert (wanted.buckets.sizes, wanted.buckets.why, wanted.ask) == ((), why, False)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="take one of them"):
        wanted_lengths("8", None, exact=True)
    with pytest.raises(ConfigError, match="without padding: leave --buckets out"):
        wanted_lengths("8", None, verify=True)
    for where in ("plain", "fixed"):
        with pytest.raises(ConfigError, match=f"--local {where} there is no server"):
            wanted_lengths("8", Local(where))
        command = ["generate", "for i in", "--local", where, "--buckets", "8"]
        assert "there is no server to hide lengths from" in run(*command, fails=True)
    assert "tokens such as 32,128,512" in run("chat", "--local", "private", "--buckets", "x", fails=True)
