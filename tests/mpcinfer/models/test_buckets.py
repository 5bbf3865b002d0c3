"""Public lengths: every prompt that fits has one, few values tell little, and what is no list is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mpcinfer.models.batch import Batch
from mpcinfer.models.buckets import DEFAULT_BUCKETS, DEFAULT_SIZES, Buckets
from parties.errors import ConfigError

SMALL = Buckets((4, 8, 16))


@pytest.mark.parametrize(
    ("tokens", "room", "answer", "length"),
    [
        (17, 1024, 24, 32),
        (32, 1024, 24, 32),
        (1, 1024, 24, 16),
        (513, 1024, 24, 1000),  # 1,024 would leave no room
        (1001, 1024, 24, 1012),  # nor would this prompt leave room for 24: half of them
        (1023, 1024, 24, 1023),
        (300, 1024, 4096, 512),  # an answer without end gets half of the room at least
        (600, 1024, 4096, 768),
        (100, 128, 0, 128),  # a text that is read
    ],
)
def test_lengths_that_are_seen(tokens: int, room: int, answer: int, length: int) -> None:
    assert DEFAULT_BUCKETS.of(tokens, room, answer) == length


@pytest.mark.parametrize("answer", [0, 1, 2, 5, 24, 1000])
@pytest.mark.parametrize("room", [1, 2, 3, 7, 16, 23, 64])
def test_every_prompt_that_fits_has_one_of_few(room: int, answer: int) -> None:
    most = room - min(answer, 1)
    lengths = [SMALL.of(tokens, room, answer) for tokens in range(1, most + 1)]
    assert all(tokens <= length <= most for tokens, length in enumerate(lengths, 1))
    assert lengths == sorted(lengths)
    assert len(set(lengths)) <= len(SMALL.sizes) + 1 + min(answer, room).bit_length()
    with pytest.raises(ConfigError, match="does not fit"):
        SMALL.of(most + 1, room, answer)


def test_the_usual_ones_double() -> None:
    assert DEFAULT_SIZES[:4] == (16, 32, 64, 128)
    assert DEFAULT_SIZES[-1] == 16384
    assert all(2 * first == second for first, second in pairwise(DEFAULT_SIZES))
    DEFAULT_BUCKETS.require_coarse()


def test_what_a_command_line_says() -> None:
    assert Buckets.parse("32,128,512").sizes == (32, 128, 512)
    assert Buckets.parse("default").sizes == DEFAULT_SIZES
    assert Buckets.parse("none", "because") == Buckets((), why="because")
    assert (str(SMALL), str(Buckets(()))) == ("4, 8, 16", "none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("many", "takes default, none, or tokens such as 32,128,512, got 'many'"),
        ("", "takes default"),
        ("8,8", "sizes ascend"),
        ("8,4", "sizes ascend"),
        ("0,4", "a size is 1 to"),
        ("-4", "a size is 1 to"),
        ("99999999", "a size is 1 to"),
        (",".join(map(str, range(1, 18))), "17 sizes, at most 16"),
    ],
)
def test_what_is_no_list_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Buckets.parse(text)
    with pytest.raises(ConfigError, match="no sizes to pad to"):
        Buckets(()).of(1, 8, 1)


def test_what_a_server_says() -> None:
    told = Buckets.from_document(SMALL.to_document())
    assert (told.sizes, told.where_possible) == (SMALL.sizes, True)
    assert Buckets.from_document({"buckets": []}).sizes == ()
    for document in (
        {},
        {"buckets": "16"},
        {"buckets": [16, True]},
        {"buckets": [16, 8]},
        {"buckets": [1.5]},
    ):
        with pytest.raises(ConfigError, match="buckets"):
            Buckets.from_document(document)
    with pytest.raises(ConfigError, match="16 and 17 are too close, they would tell lengths"):
        Buckets.from_document({"buckets": [16, 17, 18]})


def test_a_single_prompt_may_be_padded() -> None:
    padded = Batch(1, padded=True)
    assert padded.to_document() == {"batch": 1, "padded": True}
    assert Batch.from_document(padded.to_document()) == padded == Batch.of(1, equal_lengths=False, pad=True)
    assert not padded.several
    assert Batch.of(1, equal_lengths=False) == Batch.of(1, equal_lengths=True, pad=True) == Batch()
    assert Batch().to_document() == {}
