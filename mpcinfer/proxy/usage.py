"""What a request took, as the API's usage object, with the private run's bill in it."""

from __future__ import annotations

from typing import Any

from parties.bill import BillRow


def usage_of(prompt_tokens: int, new_tokens: int, cost: BillRow | None) -> dict[str, Any]:
    """The usage object. `bill` is ours; it is not there for a model in the clear."""
    bill = {} if cost is None else {"bill": bill_of(cost)}
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": new_tokens,
        "total_tokens": prompt_tokens + new_tokens,
        **bill,
    }


def bill_of(cost: BillRow) -> dict[str, int | float | None]:
    """Totals of a bill; bytes are payload, wire bytes have headers, framing and encryption."""
    return {
        "rounds": cost.rounds,
        "online_bytes_to_server": cost.online_bytes_to_server,
        "online_bytes_to_client": cost.online_bytes_to_client,
        "offline_bytes_to_server": cost.offline_bytes_to_server,
        "offline_bytes_to_client": cost.offline_bytes_to_client,
        "offline_rounds": cost.offline_rounds,
        "setup_bytes": cost.setup_bytes,
        "wire_bytes_to_server": cost.wire_bytes_to_server,
        "wire_bytes_to_client": cost.wire_bytes_to_client,
        "seconds": cost.seconds,
        "offline_seconds": cost.offline_seconds,
    }
