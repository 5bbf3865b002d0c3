"""Drafts: where they come from, what becomes of them, and that they never change an answer."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Collection, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.draft_model import DraftModel, load_draft, require_same_tokens
from mpcinfer.generation import Completion, complete, generate
from mpcinfer.models.load import load_model, load_public
from mpcinfer.models.model import Model
from mpcinfer.sampling import Random, Sampler, greedy, seeded_uniform
from mpcinfer.speculation import LONGEST, Draft, Speculation, look_up, speculation
from parties.errors import ConfigError

WORDS = 6


def words(seed: int) -> torch.Tensor:
    """Logits of the next of six words after each of six."""
    return 1.5 * torch.randn((WORDS, WORDS), generator=torch.Generator().manual_seed(seed))


class Chain:
    """Says what a table says after the last token, and remembers how it was asked."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table
        self.asked: list[tuple[list[int], int]] = []

    def __call__(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        self.asked.append((list(ids), rows))
        return self.table[list(ids)[-rows:]]


def guesses(seed: int) -> Draft:
    """Drafts that are sometimes right."""
    draw = random.Random(seed)
    return lambda text, count: [draw.randrange(WORDS) for _ in range(draw.randrange(count + 1))]


def answered(
    chain: Chain,
    drafting: Speculation | None,
    *,
    count: int = 20,
    context: int = 99,
    sampler: Sampler = greedy,
    stop: Collection[int] = (),
) -> Completion:
    return complete(
        generate(
            chain,
            [1, 2],
            max_new_tokens=count,
            context=context,
            sampler=sampler,
            stop=stop,
            speculation=drafting,
        )
    )


# --- the loop ---


@given(
    seed=st.integers(0, 99),
    most=st.integers(1, 5),
    count=st.integers(0, 12),
    context=st.integers(3, 12),
    stop=st.sets(st.integers(0, WORDS - 1), max_size=2),
    temperature=st.sampled_from([None, 0.7]),
)
def test_the_answer_is_the_same_however_it_was_drafted(
    seed: int, most: int, count: int, context: int, stop: set[int], temperature: float | None
) -> None:
    def sampler() -> Sampler:
        if temperature is None:
            return greedy
        return Random(temperature=temperature, uniform=seeded_uniform(seed))

    def run(drafting: Speculation | None) -> Completion:
        chain = Chain(words(seed))
        done = answered(chain, drafting, count=count, context=context, sampler=sampler(), stop=stop)
        for ids, rows in chain.asked:
            assert len(ids) < context  # the last token is never run
            assert len(ids) - (rows - 1) <= 2 + len(done.ids)
        return done

    drafting = Speculation(most=most, draft=guesses(seed))
    assert run(drafting) == run(None)
    assert drafting.accepted <= drafting.drafted <= most * drafting.passes


def test_right_drafts_save_passes_and_wrong_ones_cost_none() -> None:
    truth = answered(Chain(words(3)), None).ids

    def oracle(text: Sequence[int], count: int) -> Sequence[int]:
        return truth[len(text) - 2 :][:count]

    def liar(text: Sequence[int], count: int) -> Sequence[int]:
        return [(token + 1) % WORDS for token in oracle(text, count)]

    right, chain = Speculation(most=4, draft=oracle), Chain(words(3))
    assert answered(chain, right).ids == truth
    assert [rows for _, rows in chain.asked] == [5, 5, 5, 5]
    assert (right.passes, right.drafted, right.accepted) == (4, 16, 16)
    wrong, chain = Speculation(most=4, draft=liar), Chain(words(3))
    assert answered(chain, wrong).ids == truth
    assert len(chain.asked) == len(truth)
    assert wrong.accepted == 0


def test_a_pass_has_no_draft_that_the_answer_has_no_room_for() -> None:
    for count, context, rows in ((3, 99, 3), (9, 5, 3), (1, 99, 1)):
        chain = Chain(words(3))
        answered(chain, Speculation(most=4, draft=lambda text, most: [0] * 9), count=count, context=context)
        assert chain.asked[0][1] == rows


def test_nothing_is_drafted_from_a_stop_token_on() -> None:
    chain = Chain(words(3))
    answered(chain, Speculation(most=4, draft=lambda text, most: [0, 5, 1, 2]), stop={5})
    assert chain.asked[0] == ([1, 2, 0], 2)


def test_a_stop_token_behind_an_accepted_draft_ends_the_answer() -> None:
    truth = answered(Chain(words(3)), None).ids
    ending = truth[2]
    assert ending not in truth[:2]
    drafting = Speculation(most=4, draft=lambda text, count: truth[len(text) - 2 :][:count])
    assert answered(Chain(words(3)), drafting, stop={ending}) == Completion(ids=truth[:2], reason="stop")
    assert drafting.accepted == 2


def test_without_drafts_a_pass_has_one_row() -> None:
    chain = Chain(words(3))
    drafting = Speculation(most=4, draft=lambda text, count: [])
    answered(chain, drafting)
    assert {rows for _, rows in chain.asked} == {1}
    assert drafting.passes == 0


@pytest.mark.parametrize("first", range(WORDS))
def test_sampling_with_drafts_keeps_the_distribution(first: int) -> None:
    """Both tokens of an answer of two, the first of them drafted: chi-square against the table's own chances.

    Of 35 degrees of freedom; 78 is exceeded with probability 4e-5, and the draws are fixed.
    """
    table, draws = words(5), 4000
    sampler = Random(uniform=seeded_uniform(first))
    seen: Counter[tuple[int, ...]] = Counter()
    accepted = 0
    for _ in range(draws):
        drafting = Speculation(most=1, draft=lambda text, count: [first])
        seen[answered(Chain(table), drafting, count=2, sampler=sampler).ids] += 1
        accepted += drafting.accepted
    chances = torch.softmax(table.double(), -1)
    expected = {
        (a, b): draws * float(chances[2, a] * chances[a, b]) for a in range(WORDS) for b in range(WORDS)
    }
    assert set(seen) <= set(expected)
    assert sum((seen[pair] - mean) ** 2 / mean for pair, mean in expected.items()) < 78
    assert abs(accepted / draws - float(chances[2, first])) < 0.04


def test_impossible_numbers_of_drafts_are_refused() -> None:
    assert speculation(0) is None
    for most in (-1, 65):
        with pytest.raises(ConfigError, match="from 0 to 64 drafts"):
            speculation(most)


# --- looking up ---


@pytest.mark.parametrize(
    ("text", "drafts"),
    [
        ([1, 2, 3, 4, 9, 1, 2], [3, 4, 9, 1]),
        ([1, 2, 1, 2], [1, 2, 1, 2]),  # goes on with itself
        ([7, 7, 7], [7, 7, 7, 7]),
        ([1, 2, 3, 1, 2, 4, 1, 2], [4, 1, 2, 4]),  # the last of two
        ([5, 1, 2, 3, 6, 1, 2, 4, 5, 1, 2], [3, 6, 1, 2]),  # the longest of two
        ([1, 2, 3], []),
        ([2, 9, 2], []),  # one token is no ending
        ([1], []),
    ],
)
def test_what_followed_the_last_time_is_drafted(text: list[int], drafts: list[int]) -> None:
    assert look_up(text, 4) == drafts
    assert look_up(text, 2) == drafts[:2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 8))
def test_looking_up_is_a_copy_of_the_longest_ending(text: list[int], count: int) -> None:
    """Against the definition, tried place by place."""
    drafts = look_up(text, count)
    best, length = 0, 1
    for place in range(1, len(text)):
        for same in range(length, min(place, LONGEST) + 1):
            if same >= 2 and text[place - same : place] == text[len(text) - same :]:
                best, length = place, same
    if not best:
        assert drafts == []
        return
    whole = [*text, *drafts]
    assert drafts == [whole[best + i] for i in range(count)]


# --- models ---


@pytest.fixture(scope="module")
def coder() -> Model:
    return load_model("tiny-python")


LIST = "x = [1, 2, 3]\ny = [1, 2, 3]\nz = [1, 2"
CODE = "def read_lines(path):\n    with open("


@pytest.mark.parametrize("temperature", [None, 0.8])
def test_the_fixed_point_model_says_the_same(coder: Model, temperature: float | None) -> None:
    """Bit for bit the same logits, however they are cut into passes; so with a sampler and its seed."""
    model = ClearModel(coder, fixed_point=True, plan="crypten")

    def answer(speculate: int) -> Answer:
        sampler = greedy
        if temperature is not None:
            sampler = Random(temperature=temperature, uniform=seeded_uniform(4))
        return model.complete(LIST, max_new_tokens=8, sampler=sampler, speculate=speculate, keep_cache=True)

    plain, drafted = answer(0), answer(3)
    assert (drafted.ids, drafted.reason) == (plain.ids, plain.reason)
    assert plain.speculation is None
    assert drafted.speculation is not None
    assert drafted.speculation.accepted >= 2


def test_a_draft_model_speaks_where_nothing_repeats(coder: Model) -> None:
    draft = DraftModel(coder)
    text = coder.tokenizer.encode(CODE)
    assert look_up(text, 4) == []
    expected = ClearModel(coder).complete(CODE, max_new_tokens=4).ids
    assert tuple(draft(text, 4)) == expected
    assert draft(text[:-1], 4) != []  # and can go back
    assert tuple(draft(text, 4)) == expected
    repeating = coder.tokenizer.encode(LIST)
    assert draft(repeating, 4) == look_up(repeating, 4)
    answer = ClearModel(coder).complete(CODE, max_new_tokens=9, speculate=4, draft=draft)
    assert answer.speculation is not None
    assert answer.speculation.accepted == answer.speculation.drafted > 0  # its own drafts


def test_a_draft_model_is_silent_beyond_its_context(coder: Model) -> None:
    short = dataclasses.replace(
        coder,
        config=dataclasses.replace(coder.config, context=20),
        weights={
            name: weight[:20] if name == "embed.positions" else weight
            for name, weight in coder.weights.items()
        },
    )
    draft = DraftModel(short)
    distinct = list(range(100, 118))
    assert len(draft(distinct, 9)) == 3  # the last one is never run
    assert draft(list(range(100, 121)), 9) == []


def test_a_draft_model_must_share_the_tokenizer(coder: Model) -> None:
    require_same_tokens(coder, load_public("tiny-python"))
    with pytest.raises(
        ConfigError, match=r"tiny-power4 cannot draft for tiny-python: .* share the tokenizer"
    ):
        load_draft("tiny-power4", load_public("tiny-python"))
    assert load_draft("tiny-sm-ln-g", load_public("tiny-power4"))
