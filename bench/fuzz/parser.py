"""Bad frames against all that reads one: chunks, header, the frame that is expected, a document."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

from bench.fuzz.channels import Said
from bench.fuzz.mutations import Message, mutated
from bench.fuzz.outcomes import Outcomes, Unsound
from parties.documents import from_bytes
from parties.errors import MpcInferError
from parties.link import MAX_DOCUMENT_BYTES, Link
from parties.meter import CLIENT, Meter, Phase
from parties.tcp.chunks import CHUNK_BYTES, Assembler, chunks
from parties.wire import MAX_HEADER_BYTES, Buffer, Frame, decode, encode, expected

MOST_MESSAGE_BYTES = 1 << 20


def fuzz_parser(
    sound: Sequence[Message], frames: int, seed: int, *, first: int = 0, outcomes: Outcomes | None = None
) -> Outcomes:
    """Every frame goes through all readers.

    Args:
        sound: recorded messages, which are changed.
        frames: how many bad ones.
        first: the number of the first, to repeat one.
        outcomes: counts are added to these; None for fresh ones.
    """
    outcomes = outcomes or Outcomes(seed)
    for number in range(first, first + frames):
        draw = Random(f"{seed} {number}")
        origin = draw.choice(sound)
        way, message = mutated(origin, draw, sound)
        for name, reader in _READERS.items():
            outcomes.judge(name, number, message, partial(reader, origin, message, draw))
        outcomes.ways[way] += 1
    outcomes.end()
    return outcomes


def _decode(origin: Message, message: Message, draw: Random) -> None:
    """A frame that is taken says what its bytes say: written and read again it is the same."""
    frame = decode(message)
    if [len(part) for part in frame.payload] != [spec.packed_bytes for spec in frame.specs]:
        raise Unsound("payloads of other lengths than the header says")
    if decode(encode(frame)) != frame:
        raise Unsound("another frame after writing and reading")


def _expected(origin: Message, message: Message, draw: Random) -> None:
    """The short way takes nothing that the long one does not take as the same."""
    known = decode(origin)
    frame = expected(message, known.session, known.sequence, known.label, known.specs)
    if frame is not None and frame != decode(message):
        raise Unsound("another frame than the whole header says")


def _received(origin: Message, message: Message, draw: Random) -> None:
    """A link takes arrays of the frame that it expects, in their widths."""
    known = decode(origin)
    link = _link(known, message)
    with link.meter.phase(Phase.ONLINE if known.depth else Phase.CONTROL):
        arrays = link.recv(known.specs, known.label)
    for array, spec in zip(arrays, known.specs, strict=True):
        sound = array.shape == spec.shape and array.dtype == spec.dtype
        if not sound or (array.size and int(array.max()) >> spec.bits):
            raise Unsound("an array that is not of the width and shape expected")


def _document(origin: Message, message: Message, draw: Random) -> None:
    """A link takes a map of plain values with texts as keys."""
    known = decode(origin)
    link = _link(known, message)
    with link.meter.phase(Phase.ONLINE if known.depth else Phase.CONTROL):
        document = link.recv_document(known.label)
    if not isinstance(document, dict) or not all(type(key) is str for key in document):
        raise Unsound("a document that is no map of texts")


def _link(known: Frame, message: Message) -> Link:
    """A link that expects a frame: of its session and number, as deep as anything sent allows."""
    link = Link(Said([message or [b""]]), Meter(), CLIENT)
    link.session, link._received = known.session, known.sequence
    link._deepest_sent = dict.fromkeys(link._deepest_sent, known.depth)
    return link


def _plain(origin: Message, message: Message, draw: Random) -> None:
    """Any part as msgpack."""
    for part in message:
        from_bytes(part, MAX_DOCUMENT_BYTES)


def _chunked(origin: Message, message: Message, draw: Random) -> None:
    """As chunks, of which some are lost, doubled, or of other lengths; what comes out was in them."""
    sent = [bytes(chunk) for chunk in chunks(message or [b""])]
    at = draw.randrange(len(sent))
    how = draw.randrange(5)
    if how == 0:
        del sent[at]
    elif how == 1:
        sent.insert(at, sent[at])
    elif how == 2:
        sent[at] = draw.randbytes(draw.choice((0, 1, 2, 300, CHUNK_BYTES)))
    elif how == 3:
        sent[0] = draw.choice((b"", b"\0", b"\0\0", b"\xff\xff", b"\x01")) + sent[0][2:]
    assembler, came = Assembler(), list[list[Buffer]]()
    for chunk in sent:
        whole = assembler.add(chunk, MOST_MESSAGE_BYTES)
        if whole is not None:
            came.append(whole)
    if sum(len(part) for whole in came for part in whole) > sum(map(len, sent)):
        raise Unsound("more than was sent")
    for whole in came:
        if len(whole[0]) <= MAX_HEADER_BYTES:
            decode(whole)
    if not came:
        raise MpcInferError("a message that has not ended")


_READERS = {
    "decode": _decode,
    "expected": _expected,
    "recv": _received,
    "recv_document": _document,
    "from_bytes": _plain,
    "chunks": _chunked,
}
