"""What a client notes on its bill about how its session went."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.models.public import PublicModel
from mpcinfer.speculation import Speculation
from parties.bill import Bill
from parties.tcp import TcpChannel


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
