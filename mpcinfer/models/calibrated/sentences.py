"""What the shipped ranges of sentence encoders were seen on."""

from __future__ import annotations

from mpcinfer.models.calibrated.conversations import CONVERSATIONS

# Questions, news, code, numbers, other scripts, rare words, next to nothing.
SENTENCES: tuple[str, ...] = (
    "",
    "a",
    "?",
    "[PAD] [UNK] [MASK]",
    "How do I reset my password?",
    "The central bank raised interest rates by half a point on Thursday, the third rise this year.",
    "Two dogs chase a red ball across the wet grass while a child in a yellow coat watches.",
    "Mix the flour and the butter, add two eggs and a pinch of salt, and bake for forty minutes.",
    "SELECT name, price FROM goods WHERE price > 100 ORDER BY price DESC;",
    "for i in range(10):\n    print(i ** 2, end=' ')",
    "0.5772156649 3.14159265 2.71828183 1.41421356 6.02214076e23",
    "The patient, aged 47, has had a fever of 39.2 C and a dry cough for five days.",
    "Notwithstanding the foregoing, the lessee shall indemnify the lessor against all claims.",
    "To be, or not to be, that is the question.",
    "WHAT A GAME!!! they won 3-2 in extra time :-) :-) #champions",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Electroencephalographically, the deoxyribonucleic hypothesis is untenable.",
    "https://example.org/a/b?c=d&e=%20f and mail@example.org, call +49 30 1234567",
    "the the the the the the the the the the the the the the the the",
)


def sentence_prompts() -> list[str]:
    """Sentences, the turns of conversations, and texts that fill a context of 512 tokens nearly."""
    turns = [text for conversation in CONVERSATIONS for text in conversation]
    return [*SENTENCES, *turns, " ".join(SENTENCES), " ".join(turns)]
