"""All that a party has of a session on the FSS suite, whole model and all passes, for joint statistics.

A party's view is what it receives and what it draws itself. Here that is brought into a form in which masks
that are used twice meet:

* opened sums x + r, and what is left of them less the party's own summand of r;
* that summand;
* frames that one party alone sends; what the server holds after a linear layer or `ToServerHeld`, less its
  own mask; the same less the client's mask, for the client, who is sent a function of it;
* what the party draws for linear layers;
* some bits of what the dealer sent it.

Keys and queries that RoPE has turned are opened to the client whole where truncation is exact. They are a
public function of a uniform value, which at position 0 is a multiple of 2^`rotation`: as many low bits are
passed over.

One thing is left out: the client's mask of the output. The server's message is the logits minus that mask,
and the logits are what the client is meant to get: with fixed secrets its mask follows from the message. The
message stays, so what is tested is that this mask was used for nothing else. Nor are the logits themselves
in the view: they are the same in all runs where truncation is exact, and rounded by the client's own masks
where it is probabilistic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from parties.meter import CLIENT, SERVER
from parties.wire import Frame, unpack
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.gates.linear import Linear, MaskAtServer, RevealToClient, ToServerHeld
from protocols.fss.preprocessing.correlations import Mask
from protocols.share import Held, Share
from protocols.tensors import to_tensor
from tests.mpcinfer.fss_parties import Correlations, Steps, Whole, deal, run_dealt
from tests.openings import listed, reason

ELEMENTS = 8
"""Of every array, evenly spaced: the same places in arrays of the same shape."""
END_BITS = 4
"""Lowest and highest bits of an element that is not opened; of opened ones all are taken."""
CORRELATION_BITS = 512
"""Of each file from the dealer."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Elements of a ring that a party has, once a session.

    Attributes:
        ignored: as many low bits say nothing by design.
    """

    what: str
    bits: int
    values: torch.Tensor
    ignored: int = 0

    @property
    def places(self) -> list[int]:
        """The bits that are looked at."""
        places = range(self.ignored, self.bits)
        if self.what.startswith("opened"):
            return list(places)
        return sorted({*places[:END_BITS], *places[-END_BITS:]})

    @property
    def elements(self) -> torch.Tensor:
        """The elements that are looked at: of what was dealt all, which are few."""
        values, count = self.values.flatten(), self.values.numel()
        if self.what.startswith("dealt") or count <= ELEMENTS:
            return values
        return values[torch.arange(ELEMENTS) * count // ELEMENTS]

    def taken(self) -> torch.Tensor:
        """Those bits of those elements, element by element."""
        return (self.elements[:, None] >> torch.tensor(self.places) & 1).flatten()

    def names(self) -> list[str]:
        """Of `taken`."""
        return [f"{self.what} [{e}] bit {bit}" for e in range(len(self.elements)) for bit in self.places]


@dataclass(frozen=True, eq=False)
class Step:
    """A gate that draws ahead of the input: what it drew, and its input, as one party has it."""

    gate: Gate
    drawn: Sequence[torch.Tensor]
    inputs: Sequence[Share]


@dataclass(eq=False)
class Notes:
    """What one party has, in the order in which it came.

    Attributes:
        waiting: masks that nothing was opened under so far.
        steps: of linear layers and what is around them, offline.
        held: the same, online.
    """

    own: list[Seen] = field(default_factory=list[Seen])
    opened: list[Seen] = field(default_factory=list[Seen])
    left: list[Seen] = field(default_factory=list[Seen])
    drawn: list[Seen] = field(default_factory=list[Seen])
    waiting: list[Seen] = field(default_factory=list[Seen])
    steps: list[Step] = field(default_factory=list[Step])
    held: list[tuple[str, Share]] = field(default_factory=list[tuple[str, Share]])

    def open(self, label: str, sums: Sequence[torch.Tensor]) -> None:
        """Sums were opened, each under the mask that waits for it."""
        assert len(self.waiting) == len(sums), f"{label}: {len(sums)} opened under {len(self.waiting)} masks"
        for i, (mask, value) in enumerate(zip(self.waiting, sums, strict=True)):
            assert mask.values.numel() == value.numel()
            self.opened.append(Seen(f"opened {label} {i}", mask.bits, value))
            less = value.flatten() - mask.values.flatten()
            self.left.append(Seen(f"opened {label} {i} less own mask", mask.bits, less))
        self.waiting.clear()


BothNotes = tuple[Notes, Notes]
_AROUND_LINEAR = (Linear, ToServerHeld, MaskAtServer)


@contextmanager
def noting() -> Generator[BothNotes]:
    """Both parties of this process take notes; masks as they are handed out, by whoever does that."""
    both = (Notes(), Notes())
    replaced = [
        (Party, "mask", _mask(both, Party.mask)),
        (Party, "exchange", _exchange(both, Party.exchange)),
        (Party, "apply", _apply(both, Party.apply)),
        (Preparation, "draw", _draw(both, Preparation.draw)),
        (Preparation, "apply", _prepare(both, Preparation.apply)),
    ]
    with ExitStack() as stack:
        for owner, name, function in replaced:
            stack.enter_context(patch.object(owner, name, function))
        yield both


def _mask(both: BothNotes, honest: Callable[[Party, Any], torch.Tensor]) -> Callable[..., torch.Tensor]:
    def mask(self: Party, item: Mask) -> torch.Tensor:
        value, notes = honest(self, item), both[self.rank]
        seen = Seen(f"own mask {self.meter.label}", item.bits, value.clone())
        notes.own.append(seen)
        notes.waiting.append(seen)
        return value

    return mask


def _exchange(
    both: BothNotes, honest: Callable[..., list[torch.Tensor]]
) -> Callable[..., list[torch.Tensor]]:
    def exchange(self: Party, arrays: Any, reason: str) -> list[torch.Tensor]:
        sums = honest(self, arrays, reason)
        both[self.rank].open(f"{self.meter.label}/{reason}", [each.clone() for each in sums])
        return sums

    return exchange


def _apply(both: BothNotes, honest: Callable[..., Shares]) -> Callable[..., Shares]:
    def apply(self: Party, gate: Gate, *inputs: Share) -> Shares:
        results = honest(self, gate, *inputs)
        if isinstance(gate, _AROUND_LINEAR):
            both[self.rank].held.append((f"{self.meter.label}/{gate.reason}", results[0]))
        return results

    return apply


def _draw(both: BothNotes, honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def draw(self: Preparation, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        value = honest(self, shape, bits)
        both[self.rank].drawn.append(Seen(f"own draw {self.meter.label}", bits, value.clone()))
        return value

    return draw


def _prepare(both: BothNotes, honest: Callable[..., Shares]) -> Callable[..., Shares]:
    def apply(self: Preparation, gate: Gate, *inputs: Share) -> Shares:
        notes = both[self.rank]
        before = len(notes.drawn)
        results = honest(self, gate, *inputs)
        if isinstance(gate, _AROUND_LINEAR):
            drawn = [each.values for each in notes.drawn[before:]]
            notes.steps.append(Step(gate, drawn, inputs))
        if isinstance(gate, RevealToClient) and self.rank == CLIENT:
            notes.drawn.pop()  # the mask of the output
        return results

    return apply


# -- views ---------------------------------------------------------------------------------------------------


def views(whole: Whole, steps: Steps, seed: int) -> tuple[list[Seen], list[Seen]]:
    """What server and client have of a session with fresh seeds."""
    correlations = deal(whole.program, [len(ids) for ids in steps], seed)
    with noting() as (server, client):
        run = run_dealt(whole, steps, correlations, seed)
    held = list(zip(server.held, server.steps, client.steps, strict=True))
    at_server = [_less_own(*each) for each in held if not isinstance(each[1].gate, MaskAtServer)]
    at_client = [_less_the_clients(*each) for each in held if each[0][1].held is Held.SERVER_MASKED]
    frames = [_one_way(whole, sent) for sent in run.frames]
    return (
        [*_noted(server), *frames[CLIENT], *at_server, *_dealt(correlations, SERVER)],
        [*_noted(client), *frames[SERVER], *at_client, *_dealt(correlations, CLIENT)],
    )


def _noted(notes: Notes) -> list[Seen]:
    assert not notes.waiting
    return [*notes.own, *notes.opened, *notes.left, *notes.drawn]


def _less_own(held: tuple[str, Share], server: Step, client: Step) -> Seen:
    """What the server holds; less its own mask where there is one."""
    label, share = held
    own = server.drawn[0] if share.held is Held.SERVER_MASKED else torch.zeros(())
    return Seen(f"held {label}", share.ring_bits, share.value - own.to(torch.int64))


def _less_the_clients(held: tuple[str, Share], server: Step, client: Step) -> Seen:
    """What the server is about to publish, less the client's mask."""
    label, share = held
    mask = -client.inputs[0].value if isinstance(client.gate, MaskAtServer) else client.drawn[1]
    return Seen(f"held {label} less own mask", share.ring_bits, share.value - mask)


def _one_way(whole: Whole, frames: Sequence[Frame]) -> list[Seen]:
    """What one party alone sends: frames for reasons of which the list says so."""
    lines, rotation = listed("fss"), whole.program.widths.precision.rotation
    turned = rotation if whole.exact_truncation and whole.program.folded.positions == "rope" else 0
    return [
        Seen(
            f"sent {frame.label} {i}",
            spec.bits,
            to_tensor(unpack(buffer, spec)),
            ignored=turned if i < 2 and frame.label.endswith(".attn/publish") else 0,
        )
        for frame in frames
        if lines[reason(frame.label, "fss")].startswith("to the ")
        for i, (buffer, spec) in enumerate(zip(frame.payload, frame.specs, strict=True))
    ]


def _dealt(correlations: Sequence[Correlations], rank: int) -> list[Seen]:
    """Some bits of what the dealer sent, at places that depend on how much it was."""
    result = list[Seen]()
    for number, dealt in enumerate(correlations):
        files = {"gates": dealt.server, "linear": dealt.linear} if rank == SERVER else {"gates": dealt.client}
        for name, file in files.items():
            result.append(Seen(f"dealt {name} {number}", 1, _some_bits(file)))
    return result


def _some_bits(file: io.BytesIO) -> torch.Tensor:
    content = np.frombuffer(file.getvalue(), np.uint8)
    places = np.random.default_rng(len(content)).choice(8 * len(content), CORRELATION_BITS, replace=False)
    return torch.tensor((content[places // 8] >> (places % 8) & 1).astype(np.int64))
