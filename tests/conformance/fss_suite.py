"""What every gate of the FSS suite must show, as checks; each raises `Rejected` where a gate does not."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from parties.channel import Channel
from parties.errors import (
    CorrelationExhausted,
    MalformedFrame,
    MpcInferError,
    PeerClosed,
    PeerMismatch,
)
from parties.meter import CLIENT, SERVER, Meter
from parties.trace import Message, Trace
from parties.wire import Frame, Spec, decode, encode
from protocols.fss.executors.dealing import Dealing, Writer
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.preprocessing.matrix import Products
from protocols.fss.ring import low
from protocols.share import Held, Share
from tests.conformance.fss_case import Case, Choice, Shape
from tests.conformance.fss_views import Seen, chi_square, limit, seen_in
from tests.protocols.fss.harness import GATES, HASH, LINEAR, Run, Secret, Seeds, run
from tests.protocols.fss.replay import LowBits, Replay, as_noted, pair


class Rejected(AssertionError):
    """A gate fails a check."""


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise Rejected(problem)


# -- results and costs ---------------------------------------------------------------------------------------


def check_result(case: Case) -> None:
    """Private results are the function's, exactly, once probabilistic truncation rounds by the same masks."""
    for seed, shapes in enumerate(case.shapes):
        for choice in ("spread", "least", "most"):
            _check_equal(case, case.secrets(shapes, choice), seed)


def check_every_mask(case: Case) -> None:
    """The same for all secrets under all masks of a small ring."""
    domain = case.domains[0]
    secrets = torch.arange(domain.low, domain.high)
    masks = torch.arange(1 << domain.ring_bits)
    grid = torch.cartesian_prod(secrets, masks)
    others = [d.secret((len(grid),), "spread") for d in case.domains[1:]]
    first = Secret(grid[:, 0], domain.frac_bits, domain.ring_bits, domain.held, grid[:, 1])
    _check_equal(case, [first, *others], seed=0)


def _check_equal(case: Case, secrets: Sequence[Secret], seed: int) -> None:
    secrets = [_with_mask(secret, 1000 * seed + i) for i, secret in enumerate(secrets)]
    done = run(case.program, secrets, weights=case.weights, seed=seed)
    expected = _replayed(case, secrets, seed, as_noted(done.low_bits))
    for index, share in enumerate(done.client):
        alone = share.held is Held.ADDITIVE and done.server[index].value.is_meta
        got = done.output_at_client(index) if alone else done.secret(index)
        right = expected[index].value[0]
        if share.ring_bits == 1:
            got = got & 1
        wrong = int(((got - right).abs() > case.tolerance).sum())
        _require(wrong == 0, f"{case.name}: {wrong} of {got.numel()} results are wrong")


def _with_mask(secret: Secret, seed: int) -> Secret:
    """The secret with a mask that is known to the check, unless it has one."""
    if secret.mask is not None:
        return secret
    summands = (
        Seeds(9000 + seed).stream(rank, 2).ring(tuple(secret.value.shape), secret.ring_bits)
        for rank in (0, 1)
    )
    mask = sum(torch.from_numpy(each.astype(np.int64)) for each in summands)
    assert isinstance(mask, torch.Tensor)
    return dataclasses.replace(secret, mask=low(mask, secret.ring_bits))


def _replayed(case: Case, secrets: Sequence[Secret], seed: int, low_bits: LowBits) -> Shares:
    executor = Replay(Meter(timed=False), _dealing(case, seed, _nowhere, _nowhere, _nowhere), low_bits)
    inputs: list[Share] = []
    for x in secrets:
        assert x.mask is not None
        known = torch.zeros_like(x.mask) if x.held is Held.ADDITIVE else x.mask
        sides = [Share(value, x.frac_bits, x.ring_bits, x.held) for value in (x.value, known)]
        inputs.append(pair(*sides))
    return case.program(executor, *inputs)


def _dealing(case: Case, seed: int, server: Writer, client: Writer, linear: Writer) -> Dealing:
    """The dealer of a run with this seed."""
    seeds, masks = Seeds(seed), {weight.name: weight.mask for weight in case.weights}
    return Dealing(
        Meter(timed=False),
        writers=(server, client),
        linear=linear,
        streams=seeds.pair(GATES),
        linear_streams=seeds.pair(LINEAR),
        hash=HASH,
        products=Products(lambda weight: masks[weight.name]),
    )


def check_cost(case: Case) -> None:
    """Rounds, bytes each way and correlations are as declared, at both parties, for several shapes."""
    for shapes in case.shapes:
        try:
            _run(case, shapes, "spread", 0).check_bill()
        except AssertionError as error:
            raise Rejected(f"{case.name} of {shapes}: {error}") from error


def check_oblivious(case: Case) -> None:
    """Order, labels, widths and shapes of all frames are the same for different secrets."""
    for shapes in case.shapes:
        seen = [
            [(f.sender, f.label, f.specs) for f in (*done.offline_frames, *done.frames)]
            for done in (_run(case, shapes, choice, 0) for choice in ("spread", "least", "most"))
        ]
        _require(seen[0] == seen[1] == seen[2], f"{case.name}: what is sent depends on the secret")


def _run(case: Case, shapes: tuple[Shape, ...], choice: Choice, seed: int) -> Run:
    return run(case.program, case.secrets(shapes, choice), weights=case.weights, seed=seed)


# -- what is opened ------------------------------------------------------------------------------------------


def check_uniform(case: Case, seeds: Sequence[int] = (11, 12)) -> None:
    """Whatever the secrets are, all that a party sees is uniform, by itself and against all else it sees:

    every frame, the sum of both parties' frames of an exchange, what the server holds at the end; differences
    of any two of these, and of neighbours in one of them.
    """
    for choice in ("least", "most", "spread"):
        for seen in _all_seen(case, choice, seeds):
            for part, values, cells in seen.cells():
                _require(
                    chi_square(values, cells) < limit(cells),
                    f"{case.name}, secrets {choice}: {seen.what} is not uniform in its {part}",
                )


def check_indistinguishable(case: Case, seeds: Sequence[int] = (21, 22)) -> None:
    """What is seen of one secret and of another comes from one distribution: two-sample tests."""
    middle = _all_seen(case, "middle", seeds)
    for choice in ("least", "most"):
        for ours, theirs in zip(middle, _all_seen(case, choice, seeds), strict=True):
            for (part, first, cells), (_, second, _) in zip(ours.cells(), theirs.cells(), strict=True):
                a, b = (torch.bincount(v, minlength=cells).double() for v in (first, second))
                distance = float(((a - b).square() / (a + b).clamp(min=1)).sum())
                problem = f"{case.name}: {ours.what} tells two secrets apart by its {part}"
                _require(distance < limit(cells), problem)


def check_correlations(case: Case, seeds: Sequence[int] = (31, 32)) -> None:
    """All bytes that the dealer sends to one place are uniform, for masks of all inputs that are the same."""
    for mask in (0, 1):
        places = tuple(io.BytesIO() for _ in range(3))
        for seed in seeds:
            inputs = [
                Share(torch.full(shape, mask), d.frac_bits, d.ring_bits, d.held)
                for d, shape in zip(case.domains, case.many, strict=True)
            ]
            case.program(_dealing(case, seed, *(_into(file) for file in places)), *inputs)
        for place, file in zip(("the server", "the client", "linear layers"), places, strict=True):
            sent = torch.from_numpy(np.frombuffer(file.getvalue(), np.uint8).astype(np.int64))
            uniform = not sent.numel() or chi_square(sent, 256) < limit(256)
            _require(uniform, f"{case.name}: correlations for {place} is not uniform")


def _into(file: io.BytesIO) -> Writer:
    def write(data: NDArray[np.uint8]) -> None:
        file.write(data.tobytes())

    return write


def _nowhere(data: NDArray[np.uint8]) -> None:
    """Takes bytes that nobody reads."""


def _all_seen(case: Case, choice: Choice, seeds: Sequence[int]) -> list[Seen]:
    """Over fresh seeds, end to end."""
    runs = [seen_in(_run(case, case.many, choice, seed)) for seed in seeds]
    return [
        Seen(same[0].what, same[0].bits, torch.cat([each.values.flatten() for each in same]))
        for same in zip(*runs, strict=True)
    ]


# -- faults --------------------------------------------------------------------------------------------------


def _cut_short(message: Message) -> Message:
    return [*message[:-1], message[-1][:-1]]


def _too_long(message: Message) -> Message:
    return [*message[:-1], message[-1] + b"\x00"]


def _changed(change: Callable[[Frame], Frame]) -> Callable[[Message], Message]:
    return lambda message: [bytes(part) for part in encode(change(decode(message)))]


def _wider(frame: Frame) -> Frame:
    """The same with an array of 64 bits an element."""
    spec = Spec(64, frame.specs[0].shape)
    payload = (bytes(spec.packed_bytes), *frame.payload[1:])
    return dataclasses.replace(frame, specs=(spec, *frame.specs[1:]), payload=payload)


FRAME_FAULTS: dict[str, tuple[Callable[[Message], Message], type[MpcInferError]]] = {
    "a truncated frame": (_cut_short, MalformedFrame),
    "an oversized frame": (_too_long, MalformedFrame),
    "another label": (_changed(lambda f: dataclasses.replace(f, label=f.label + "x")), PeerMismatch),
    "another width": (_changed(_wider), PeerMismatch),
    "another frame's number": (_changed(lambda f: dataclasses.replace(f, sequence=9)), PeerMismatch),
}


class _Gone(Exception):
    """What a party dies of."""


def check_faults(case: Case) -> None:
    """Frames that are not as they should be, a dead peer and too little correlations give the named error."""
    clean = _run(case, case.shapes[0], "spread", 0)
    for phase, frames in ((Preparation, clean.offline_frames), (Party, clean.frames)):
        for victim in sorted({1 - frame.sender for frame in frames}):
            for name, (tamper, expected) in FRAME_FAULTS.items():

                def lie(link_channel: Channel, tamper: Callable[[Message], Message] = tamper) -> Channel:
                    return Trace(link_channel, tamper_received=tamper)

                _expect(case, phase, victim, expected, name, at_victim=lie)
            _expect(case, phase, victim, PeerClosed, "a dead peer", dies=True)
    for rank in (SERVER, CLIENT):
        if clean.correlations[rank]:
            _expect(case, Party, rank, CorrelationExhausted, "too little correlations", loses=True)


def _expect(
    case: Case,
    phase: type[Preparation] | type[Party],
    victim: int,
    expected: type[MpcInferError],
    fault: str,
    *,
    at_victim: Callable[[Channel], Channel] | None = None,
    dies: bool = False,
    loses: bool = False,
) -> None:
    """Runs the case with a fault; the victim must fail with the expected error and no other."""
    failed: list[BaseException] = []

    def program(executor: Executor, *inputs: Share) -> Shares:
        if not isinstance(executor, phase):
            return case.program(executor, *inputs)
        if executor.rank != victim:
            if dies:
                raise _Gone
            return case.program(executor, *inputs)
        if at_victim is not None:
            executor.link.channel = at_victim(executor.link.channel)
        if loses and isinstance(executor, Party):
            executor._correlations._left -= 1  # a dealer that stopped before the end
        try:
            return case.program(executor, *inputs)
        except Exception as error:
            failed.append(error)
            raise

    with contextlib.suppress(MpcInferError, _Gone):
        run(program, case.secrets(case.shapes[0], "spread"), weights=case.weights)
    got = ", ".join(type(error).__name__ for error in failed) or "no error"
    problem = f"{case.name}, {fault} for party {victim}: {got} instead of {expected.__name__}"
    _require([type(error) for error in failed] == [expected], problem)


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_result,
    check_cost,
    check_oblivious,
    check_uniform,
    check_indistinguishable,
    check_correlations,
    check_faults,
)
