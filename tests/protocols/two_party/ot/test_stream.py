"""Streams of COTs: the relation holds through all stages, and nothing that is secret goes over the link."""

from __future__ import annotations

import numpy as np
import pytest

from parties.errors import PeerMismatch
from parties.link import Link
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from parties.wire import spec_of
from protocols.labels import labelled
from protocols.two_party.ot import schedule, silent
from protocols.two_party.ot.schedule import Direct, ExtensionSchedule, Silent
from protocols.two_party.ot.stages import STAGES
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from protocols.two_party.reasons import TREES
from tests.protocols.two_party.ot.digest import SMALL
from tests.protocols.two_party.ot.pair import Run, run

ONE = np.uint64(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "STAGES", SMALL)


def related(made: Run, sender: int) -> None:
    """q xor t = c D for all blocks that both took, and no block came twice."""
    q, t = made.results[sender], made.results[1 - sender]
    delta = made.ots[sender].stream(sender).delta
    assert delta is not None
    choices = t[:, 0] & ONE
    assert int(delta[0]) & 1
    assert not (q[:, 0] & ONE).any()
    assert np.array_equal(q ^ t, choices[:, None] * delta)
    assert len(np.unique(q, axis=0)) == len(q)


@pytest.mark.parametrize("sender", [0, 1])
def test_the_relation_holds_through_all_stages(small: None, sender: int) -> None:
    counts = (1, 63, 200, 500, 7, 3000, 1500, 40)

    def side(ot: TwoPartyOt) -> np.ndarray:
        return np.concatenate([ot.stream(sender).take(count) for count in counts])

    made = run(side)
    related(made, sender)
    choices = made.results[1 - sender][:, 0] & ONE
    assert 0.45 < choices.mean() < 0.55


def test_the_real_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both directions, from base OTs to the last stage and once more."""
    last = STAGES[-1]

    def side(ot: TwoPartyOt) -> np.ndarray:
        stream = ot.stream(0)
        stream.reserve(last.made)
        taken = [stream.take(last.made // 4) for _ in range(4)]
        assert stream.available
        return np.concatenate(taken)

    made = run(side)
    related(made, 0)
    ones = int((made.results[1][:, 0] & ONE).sum())
    assert abs(ones - last.made / 2) < 5 * (last.made / 4) ** 0.5
    steps = ExtensionSchedule()
    steps.reserve(last.made)
    counted = [step for _ in range(4) for step in steps.take(last.made // 4)]
    assert [type(step) for step in counted] == [Direct, Silent, Silent, Silent, Silent]
    assert made.bill.online_bytes_to_server == sum(step.bytes_to_sender for step in counted)
    assert made.bill.online_bytes_to_client == sum(step.bytes_to_receiver for step in counted)


def test_the_largest_stage_sends_less_than_a_bit_each() -> None:
    last = STAGES[-1]
    assert 8 * last.sent_bytes < last.made - last.taken


def test_choices_and_offsets_are_not_on_the_wire(small: None) -> None:
    def side(ot: TwoPartyOt) -> np.ndarray:
        return ot.stream(0).take(2000)

    made = run(side)
    wire = b"|".join(made.messages[0] + made.messages[1])
    delta = made.ots[0].stream(0).delta
    assert delta is not None
    choices = (made.results[1][:, 0] & ONE).astype(np.uint8)
    packed = np.packbits(choices, bitorder="little").tobytes()
    assert delta.tobytes() not in wire
    assert not any(packed[at : at + 16] in wire for at in range(0, len(packed) - 16, 8))
    assert not any(block.tobytes() in wire for block in made.results[0][:200])
    assert not any(block.tobytes() in wire for block in made.results[1][:200])


def test_no_two_words_of_a_message_differ_by_the_offset(small: None) -> None:
    """Blocks that are XORed to the offset would give it away."""
    made = run(lambda ot: ot.stream(0).take(2000))
    delta = made.ots[0].stream(0).delta
    assert delta is not None
    for message in made.messages[0][1:]:
        if len(message) % 16 == 0:
            blocks = {bytes(message[at : at + 16]) for at in range(0, len(message), 16)}
            shifted = {bytes(a ^ b for a, b in zip(each, delta.tobytes(), strict=True)) for each in blocks}
            assert not blocks & shifted


def test_what_is_announced_decides_the_steps() -> None:
    few, many = ExtensionSchedule(), ExtensionSchedule()
    many.reserve(10**6)
    assert few.take(10) == [Direct(64)]
    assert [type(step) for step in many.take(10)] == [Direct, Silent, Silent, Silent]
    cost = [sum(step.bytes_to_sender + step.bytes_to_receiver for step in s.take(10**6)) for s in (few, many)]
    assert cost[1] == 0 < cost[0]


@pytest.mark.parametrize("wanted", [1, 20608, 20609, 44000, 45000, 200_000, 300_000, 5_000_000])
def test_a_schedule_always_has_what_is_taken(wanted: int) -> None:
    steps, left = ExtensionSchedule(), wanted
    while left:
        count = min(left, 70_000)
        steps.take(count, left)
        assert steps.available >= 0
        left -= count


def test_a_message_of_another_shape_is_refused() -> None:
    stage = SMALL[0]
    seeds = InsecureTestRandom(1).uint64((stage.taken, 2))
    keys = silent.SilentKeys(b"public")

    def liar(link: Link) -> None:
        link.send([np.zeros((stage.trees, stage.depth, 2), np.uint64)], 64, labelled(link, TREES))

    with pytest.raises(PeerMismatch, match="expected 64-bit"):
        run_two_threads(liar, lambda link: silent.extend_receiver(link, keys, stage, seeds))
    assert spec_of(64, (stage.trees, stage.depth - 1, 2)).packed_bytes == stage.sent_bytes


def test_every_extension_has_trees_of_another_key() -> None:
    """Under one key, nodes of all extensions would be targets of one guess at the offset."""
    ours, theirs, others = silent.SilentKeys(b"a"), silent.SilentKeys(b"a"), silent.SilentKeys(b"b")
    keys = [ours.next_tree().key for _ in range(3)]
    assert keys == [theirs.next_tree().key for _ in range(3)]
    assert len({*keys, others.next_tree().key, ours.code.key, others.code.key}) == 6
