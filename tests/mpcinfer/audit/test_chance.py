"""The test of chance finds what names a secret, and nothing in masked words."""

from __future__ import annotations

import numpy as np
import pytest

from mpcinfer.audit.chance import Recovered, binomial_tail, differing, distances, recovered
from mpcinfer.audit.views import Key, View, Words

KEY, DOCUMENT = Key("received", "layer0.attn/open", 20), Key("received", "session.bill", 8)
CANDIDATES, TRIALS, WORDS = 6, 24, 32
_RING = 1 << 20


def uniform(random: np.random.Generator) -> Words:
    return random.integers(_RING, size=WORDS, dtype=np.uint64)


def found(*, masked: bool, mask_kept: bool = False) -> Recovered:
    """Of sessions that show a secret's words, under a mask each, the same mask, or none."""
    random = np.random.default_rng(1)
    secrets = [uniform(random) for _ in range(CANDIDATES)]
    kept = uniform(random)

    def session(which: int) -> View:
        mask = kept if mask_kept else uniform(random) if masked else np.zeros(WORDS, np.uint64)
        return {KEY: (secrets[which] + mask) % np.uint64(_RING)}

    drawn = [int(each) for each in random.integers(CANDIDATES, size=TRIALS)]
    [row] = recovered([session(i) for i in range(CANDIDATES)], [(each, session(each)) for each in drawn])
    return row


def test_masked_words_are_at_chance_level() -> None:
    row = found(masked=True)
    assert row.at_chance
    assert row.rate < 0.5
    assert row.words == WORDS


@pytest.mark.parametrize("mask_kept", [False, True], ids=["no mask", "one mask for all sessions"])
def test_words_that_name_the_secret_are_a_leak(mask_kept: bool) -> None:
    row = found(masked=False, mask_kept=mask_kept)
    assert row.rate == 1.0
    assert row.p_value == pytest.approx(CANDIDATES**-TRIALS)
    assert not row.at_chance
    assert row.reason == "open"


def test_the_tail_is_exact() -> None:
    assert binomial_tail(0, 5, 0.25) == 1.0
    assert binomial_tail(5, 5, 0.25) == pytest.approx(0.25**5)
    assert binomial_tail(1, 2, 0.5) == pytest.approx(0.75)


def test_distance_goes_around_the_ring() -> None:
    template, seen = np.array([0, 255], np.uint64), np.array([255, 0], np.uint64)
    assert distances([template, seen], seen, 8) == [1 / 256, 0.0]
    far = np.array([2**63], np.uint64)
    assert distances([np.array([0], np.uint64)], far, 64) == [0.5]


def test_sizes_that_differ_are_named_and_bills_left_out() -> None:
    short, long = np.zeros(3, np.uint64), np.zeros(4, np.uint64)
    assert differing([{KEY: short, DOCUMENT: short}, {KEY: short, DOCUMENT: long}]) == []
    assert differing([{KEY: short}, {KEY: long}]) == [KEY]
    assert differing([{KEY: short}, {}]) == [KEY]
    assert (KEY.reason, DOCUMENT.reason) == ("open", "control")


def test_masked_weights_have_their_reason_before_their_name() -> None:
    assert Key("received", "setup/layer0.attn.qkv.weight", 20).reason == "setup"
    assert Key("received", "setup/weight", 64).reason == "weight"
