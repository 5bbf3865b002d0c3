"""What a client notes on its bill about how its session went."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mpcinfer.backends.parts import Pass
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.padded_steps import PaddedSteps
from mpcinfer.speculation import Speculation
from parties.bill import Bill
from parties.tcp import TcpChannel

MOST_COUNTED = 64
"""Passes of which a note counts what padding cost; counting takes up to a tenth of a second a pass."""
MOST_LISTED = 8
"""Prompts whose lengths a note lists."""

CountPasses = Callable[[Sequence[Pass], Batch], Bill]
"""The bill of a session of such passes, on shapes alone."""


def speculation_says(answers: Sequence[Speculation]) -> str:
    """A note on the bill."""
    passes, drafted = sum(each.passes for each in answers), sum(each.drafted for each in answers)
    accepted = sum(each.accepted for each in answers)
    return (
        f"speculation: {passes:,} passes with {drafted:,} drafts, {accepted:,} of them accepted; the server "
        "saw these numbers, pass by pass"
    )


def fetched_says(public: PublicModel, pinned: str | None) -> str:
    """A note on the bill."""
    pin = "as pinned" if pinned else "not pinned: that they are right is the server's word"
    return f"shape, ranges and tokenizer came from the server, digest {public.digest()}, {pin}"


def kernel_says(channel: TcpChannel, bill: Bill) -> str:
    """The bill's wire bytes next to what the kernel counted on the connection to the server."""
    counted = channel.kernel_bytes()
    if counted is None:
        return "the kernel does not tell what went through the socket; wire bytes are computed"
    total, (greeting_sent, greeting_received) = bill.total, channel.preamble_bytes()
    billed = (total.wire_bytes_to_server + greeting_sent, total.wire_bytes_to_client + greeting_received)
    verdict = "exactly as billed" if counted == billed else f"but {billed[0]:,} and {billed[1]:,} were billed"
    return (
        f"the kernel counted {counted[0]:,} bytes to the server and {counted[1]:,} to the client: {verdict}"
    )


def exact_says(why: str, batch: Batch) -> str:
    """A note on the bill."""
    which = "the longest prompt of a pass" if batch.several else "each prompt"
    return f"lengths are exact, the server saw how many tokens {which} has: {why}"


def going_on_says(prompts: int) -> str:
    """A note on the bill, of prompts that followed what their session had kept."""
    return (
        f"{prompts:,} prompt{'s' if prompts > 1 else ''} went on from a kept conversation, without padding: "
        "the server saw how many new tokens each has"
    )


def padding_says(padded: PaddedSteps, batch: Batch, count: CountPasses) -> str:
    """A note on the client's own bill, for it has lengths that the server does not know.

    The cost is what passes take with padding, less what they would take at their exact length: both counted.
    """
    passes = padded.passes[:MOST_COUNTED]
    run = count([each.run for each in passes], batch).total
    exact = count([each.exact for each in passes], batch if batch.several else SINGLE).total
    online = run.online_bytes_to_server + run.online_bytes_to_client
    online -= exact.online_bytes_to_server + exact.online_bytes_to_client
    offline = run.offline_bytes_to_server + run.offline_bytes_to_client
    offline -= exact.offline_bytes_to_server + exact.offline_bytes_to_client
    setup, rounds = run.setup_bytes - exact.setup_bytes, run.rounds - exact.rounds
    of = (
        f" in the first {len(passes)} of {len(padded.passes):,} passes"
        if padded.passes[MOST_COUNTED:]
        else ""
    )
    return (
        f"{_lengths(padded.padded_to, several=batch.several)}; the padding cost {online:,} bytes online, "
        f"{offline:,} offline, {setup:,} of setup and {rounds:,} rounds{of}, counted"
    )


def _lengths(padded_to: Sequence[tuple[int, int]], *, several: bool) -> str:
    """What was padded to what; of `several` prompts a pass, the longest."""
    longest = "longest " if several else ""
    lengths, prompts = [length for length, _ in padded_to], [tokens for _, tokens in padded_to]
    if len(padded_to) == 1:
        return f"padded to {lengths[0]:,} tokens: {prompts[0]:,} of them are the {longest}prompt's"
    if len(padded_to) > MOST_LISTED:
        return (
            f"{len(padded_to):,} {longest}prompts padded to {sum(lengths):,} tokens together: "
            f"{sum(prompts):,} of them are theirs"
        )
    to, of = (", ".join(f"{each:,}" for each in numbers) for numbers in (lengths, prompts))
    return f"{len(padded_to)} {longest}prompts padded to {to} tokens: {of} of them are theirs"
