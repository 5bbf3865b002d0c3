"""The tokenizer for code: lossless, and cut where prompts end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.bpe import END_OF_TEXT, train_tokenizer
from parties.errors import ConfigError

TEXTS = ["def __init__(self, my_value):\n        self.my_value = my_value + 10\n\n    return 42\n"] * 20
TOKENIZER: Tokenizer = train_tokenizer(TEXTS, 400)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_comes_back(text: str) -> None:
    expected = text.replace(END_OF_TEXT, "")
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == expected


def test_separator_is_one_token_and_stops_answers() -> None:
    (separator,) = TOKENIZER.encode(END_OF_TEXT)
    assert TOKENIZER.stop == {separator}
    assert TOKENIZER.decode([separator]) == ""


def test_indentation_dunders_and_words_are_single_tokens() -> None:
    pieces = [TOKENIZER.decode([token]) for token in TOKENIZER.encode(TEXTS[0])]
    for piece in (" __init__", "        ", "self", "_value", "\n", "\n\n", "    ", "return"):
        assert piece in pieces
    assert "10" not in pieces


@pytest.mark.parametrize(
    "cut", ["def __init__(self, my_value):\n", "def __init__(self, my_value):\n        "]
)
def test_a_prompt_may_end_at_a_line_end_or_after_indentation(cut: str) -> None:
    """Its tokens begin the whole text's: what follows is what was seen in training."""
    whole, prompt = TOKENIZER.encode(TEXTS[0]), TOKENIZER.encode(cut)
    assert whole[: len(prompt)] == prompt


def test_vocabulary_must_hold_every_byte() -> None:
    with pytest.raises(ConfigError, match="at least 257"):
        train_tokenizer(TEXTS, 256)
