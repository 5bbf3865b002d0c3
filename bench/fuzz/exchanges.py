"""Bad messages in every exchange of documents and in whole sessions, for every reader of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

from bench.fuzz.agreeing import agreeing_scenes
from bench.fuzz.dealing import dealing_scenes
from bench.fuzz.mutations import Message, fitting, mutated, rearranged
from bench.fuzz.outcomes import Outcomes
from bench.fuzz.scenes import Scene

_MOST_BYTES = 1 << 17
_REARRANGED = 0.15
_SAME_OF_BOTH = 0.6
Stream = list[Message]


def all_scenes() -> list[Scene]:
    """Every exchange there is."""
    return [*agreeing_scenes(), *dealing_scenes()]


def fuzz_exchanges(
    scenes: Sequence[Scene],
    frames: int,
    seed: int,
    *,
    first: int = 0,
    recorded: Sequence[list[Stream]] | None = None,
) -> Outcomes:
    """Each frame is one bad message among an honest speaker's, up to which all goes well.

    Args:
        scenes: those to fuzz.
        frames: how many bad messages in all.
        first: the number of the first, to repeat one.
        recorded: of every scene, what its speaker says; None to run them once.
    """
    streams = [scene.recorded() for scene in scenes] if recorded is None else recorded
    for scene, said in zip(scenes, streams, strict=True):
        scene.read(said)  # honest messages are taken, and everything is imported and compiled
    sound = [message for said in streams for stream in said for message in stream if _small(message)]
    outcomes, weights = Outcomes(seed), [scene.weight for scene in scenes]
    for number in range(first, first + frames):
        draw = Random(f"{seed} {number}")
        (which,) = draw.choices(range(len(scenes)), weights)
        way, message, bad = _spoilt(streams[which], draw, sound)
        outcomes.ways[way] += 1
        scene = scenes[which]
        outcomes.judge(scene.name, number, message, partial(scene.read, bad))
    outcomes.end()
    return outcomes


def _small(message: Message) -> bool:
    return sum(map(len, message)) <= _MOST_BYTES


def _spoilt(
    streams: list[Stream], draw: Random, sound: Sequence[Message]
) -> tuple[str, Message, list[Stream]]:
    """What was done, the message that was changed, and the streams with it."""
    link = draw.choice([at for at, stream in enumerate(streams) if stream])
    stream, bad = streams[link], [list(each) for each in streams]
    index = draw.randrange(len(stream))
    if draw.random() < _REARRANGED:
        way, bad[link] = rearranged(stream, index, draw, sound)
        return way, stream[index], bad
    way, message = mutated(stream[index], draw, sound)
    message = message or [b""]
    bad[link][index] = message
    for at, other in enumerate(bad):  # two parties that lie alike
        alike = at != link and index < len(other) and other[index][1:] == stream[index][1:]
        if alike and len(message) == 2 and draw.random() < _SAME_OF_BOTH:
            other[index] = fitting(other[index], message[1])
    return way, message, bad
