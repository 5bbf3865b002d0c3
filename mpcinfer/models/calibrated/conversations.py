"""What the shipped ranges of chat models were seen on."""

from __future__ import annotations

from mpcinfer.tokenizer import Tokenizer

# Facts, sums, code, other scripts, short and long.
CONVERSATIONS: tuple[tuple[str, ...], ...] = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Hi",),
    ("What is 17 + 25?", "17 + 25 = 42.", "And 42 times 1000?", "42 times 1000 is 42,000."),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("List three fruits, separated by commas.", "Apples, bananas, oranges"),
    ("Explain in two sentences why the sky is blue.", "Air scatters blue light more than red light."),
    ("Traduis en anglais : « Où est la bibliothèque ? »", "Where is the library?"),
    ("日本の首都はどこですか。", "東京です。"),
    (
        "Summarise this message for me: the meeting with the bank has moved from Tuesday at 10:30 to "
        "Thursday at 9:00, the room stays the same, and everybody should bring the signed forms, two copies "
        "each, because the office closes early that day and nothing can be printed there.",
        "The meeting is now on Thursday at 9:00 in the same room; bring two signed copies of the forms.",
    ),
    ("<div class='a'>&nbsp;{x: [1, 2, 3]}</div> What language is this?", "It is HTML."),
)


def chat_prompts(tokenizer: Tokenizer) -> list[str]:
    """`CONVERSATIONS` in a model's chat template, questions and answers in turn.

    Raises:
        ConfigError: the tokenizer has no chat template.
    """
    roles = ("user", "assistant")
    return [
        tokenizer.chat([{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)])
        for turns in CONVERSATIONS
    ]
