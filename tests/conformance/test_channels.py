"""Every channel passes the suite, and the suite fails every broken one."""

from __future__ import annotations

import pytest

from parties.errors import PeerError
from tests.conformance.channel_suite import CHECKS, Check
from tests.controls.channels import BROKEN, SOUND
from tests.parties.pairs import PAIRS, MakePair


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_channel(make: MakePair, check: Check) -> None:
    check(make)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_controls_wrapper_itself_is_sound(check: Check) -> None:
    check(SOUND)


@pytest.mark.parametrize(
    ("make", "check"), [control[1:] for control in BROKEN], ids=[control[0] for control in BROKEN]
)
def test_the_suite_rejects(make: MakePair, check: Check) -> None:
    with pytest.raises((AssertionError, PeerError)):
        check(make)


def test_every_check_rejects_something() -> None:
    assert {check for _name, _make, check in BROKEN} == set(CHECKS)
