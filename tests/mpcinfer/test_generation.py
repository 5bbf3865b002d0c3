"""The token loop: what it feeds, when it stops, and that a server can follow it without knowing tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Completion, Remembered, Session, complete, generate
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=40, context=24
)


class Script:
    """Says given tokens, one after the other, and remembers what it was asked with."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[list[int]] = []

    def __call__(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        assert rows == 1
        self.asked.append(list(ids))
        return torch.eye(40)[[self.answers[len(self.asked) - 1]]]


def test_the_text_grows_token_by_token() -> None:
    script = Script(7, 8, 9, 3)
    seen: list[int] = []
    loop = generate(script, [1, 2], max_new_tokens=3, context=24)
    assert complete(loop, seen.append) == Completion(ids=(7, 8, 9), reason="length")
    assert seen == [7, 8, 9]
    assert script.asked == [[1, 2], [1, 2, 7], [1, 2, 7, 8]]


def test_a_stop_token_ends_the_answer_and_is_no_part_of_it() -> None:
    script = Script(7, 3, 9)
    assert complete(generate(script, [1], max_new_tokens=9, context=24, stop={3, 5})) == Completion(
        ids=(7,), reason="stop"
    )


def test_tokens_come_one_at_a_time() -> None:
    script = Script(7, 8, 9)
    loop = generate(script, [1], max_new_tokens=3, context=24)
    assert next(loop) == 7
    assert script.asked == [[1]]


def test_the_context_limits_prompt_and_answer_together() -> None:
    script = Script(*range(10))
    assert complete(generate(script, [1] * 20, max_new_tokens=9, context=24)).reason == "context"
    assert complete(generate(Script(7, 8), [1] * 22, max_new_tokens=2, context=24)).reason == "length"
    assert len(script.asked) == 4


def test_nothing_runs_for_no_tokens() -> None:
    script = Script()
    assert complete(generate(script, [1], max_new_tokens=0, context=24)) == Completion(
        ids=(), reason="length"
    )
    assert script.asked == []


@pytest.mark.parametrize(
    ("prompt", "max_new_tokens", "message"),
    [([], 3, "no tokens"), ([1] * 24, 3, "no room in the context of 24"), ([1], -1, "negative")],
)
def test_impossible_requests_are_refused_at_once(
    prompt: list[int], max_new_tokens: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(Script(), prompt, max_new_tokens=max_new_tokens, context=24)


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=generator) * 0.3 for name, shape in weight_shapes(CONFIG).items()
    }


def remembered(session: Session[torch.Tensor, torch.Tensor]) -> Remembered:
    return Remembered(session.step, session.rewind)


def test_a_session_says_what_full_passes_say() -> None:
    decoder = Decoder(PlainBackend(), CONFIG, random_weights())
    cached = complete(generate(remembered(Session(decoder)), [3, 1, 4], max_new_tokens=21, context=24))

    ids = [3, 1, 4]
    for _ in range(21):
        ids.append(int(decoder.forward(torch.tensor([ids]), len(ids))[0, -1].argmax()))
    assert list(cached.ids) == ids[3:]
    assert cached.reason == "length"


class FollowingBackend(PlainBackend):
    """A party that knows how many tokens there are and not which: it sees zeros and opens nothing."""

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        assert ids is None
        return torch.zeros(1, count, dtype=torch.int64)

    def open_logits(self, logits: torch.Tensor) -> None:  # type: ignore[override]
        return None


def test_a_server_follows_without_tokens_or_logits() -> None:
    weights = random_weights()
    client = Session(Decoder(PlainBackend(), CONFIG, weights))
    server = Session(Decoder(FollowingBackend(), CONFIG, weights))
    opened: list[torch.Tensor | None] = []

    def both(ids: Sequence[int], rows: int) -> torch.Tensor:
        opened.append(server.advance(None, len(ids), rows))
        return client.step(ids, rows)

    def rewind(length: int) -> None:
        raise AssertionError("nothing is forgotten")

    assert len(complete(generate(Remembered(both, rewind), [3, 1, 4], max_new_tokens=5, context=24)).ids) == 5
    assert opened == [None] * 5
    assert server.cache.length == client.cache.length == 7


def test_a_full_session_refuses_more() -> None:
    session = Session(Decoder(PlainBackend(), CONFIG, random_weights()))
    session.step([1] * 24)
    with pytest.raises(ConfigError, match="25 tokens"):
        session.step([1])


def _kept_of(prompts: Sequence[Sequence[int]], *, keep: bool = True) -> list[int]:
    """How many tokens are kept when each prompt after the first begins; answers are 90, 91."""
    length, kept = 0, list[int]()

    def step(ids: Sequence[int], rows: int) -> torch.Tensor:
        nonlocal length
        length += len(ids)
        return torch.zeros(rows, 100)

    def rewind(to: int) -> None:
        nonlocal length
        length = to

    seen = Remembered(step, rewind)
    for prompt in prompts:
        seen.begin(prompt, keep=keep)
        kept.append(length)
        seen(prompt, 1)
        seen([*prompt, 90], 1)
        seen([*prompt, 90, 91], 1)
    return kept[1:]


def test_a_changed_conversation_is_cut_where_a_turn_ended() -> None:
    first, second = [1, 2, 3], [1, 2, 3, 90, 91, 4, 5]
    third = [*second, 90, 91, 6]
    assert _kept_of([first, second, third]) == [5, 9]  # it goes on
    assert _kept_of([first, second, [*second[:-1], 7]]) == [5, 5]  # the second question is another: all of it
    assert _kept_of([first, second, [1, 2, 3, 8]]) == [5, 3]  # the first answer is
    assert _kept_of([first, second, [1, 2, 8]]) == [5, 0]  # the first question is, in its last token
    assert _kept_of([first, second, third, [*second, 8]]) == [5, 9, 7]
    assert _kept_of([first, second], keep=False) == [0]


def test_refused_drafts_after_an_answer_are_no_change_of_it() -> None:
    rewound = list[int]()
    seen = Remembered(lambda ids, rows: torch.zeros(rows, 100), rewound.append)
    seen.begin([1, 2, 3], keep=True)
    seen([1, 2, 3], 1)
    seen([1, 2, 3, 90, 55, 56], 3)  # the answer is 90 and a stop token: two drafts are refused
    seen.end([90])
    assert rewound == [4]
    seen.begin([1, 2, 3, 90, 4], keep=True)
    assert rewound == [4]


def test_what_cannot_be_cut_is_kept_whole_or_not_at_all() -> None:
    rewound = list[int]()
    seen = Remembered(lambda ids, rows: torch.zeros(rows, 100), rewound.append, apart=False)
    for prompt, forgotten in (([1, 2, 3], []), ([1, 2, 3, 4], []), ([1, 2, 3, 4], [0]), ([1, 2, 9], [0, 0])):
        seen.begin(prompt, keep=True)
        assert rewound == forgotten
        seen(prompt, 1)
