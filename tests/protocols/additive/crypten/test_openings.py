"""What is opened: only for listed reasons, and uniform whatever the secrets are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import PLANS, get_plan
from parties.meter import CLIENT, SERVER
from protocols.additive.correlations import Request, Stream
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.registry import resolve
from protocols.arithmetic.suite import Suite
from protocols.share import Share
from tests.openings import listed, reason

Parties = Callable[..., Any]


def inference(suite: Suite) -> Callable[[CrypTenArithmetic], object]:
    """What a decoder does: look-up, matrix products, norm, attention weights, activations, tied head."""

    def body(executor: CrypTenArithmetic) -> object:
        rows = torch.eye(6, dtype=torch.float64)[[1, 4, 2]]
        table = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(6, 4)
        weight = executor.weight("table", table if executor.rank == SERVER else None, (6, 4))
        tokens = executor.share_from(CLIENT, rows if executor.rank == CLIENT else None, (3, 6), 0)
        x = executor.linear(tokens, weight)
        energy = executor.add_public(executor.sum(executor.square(x), -1), 0.5)
        x = executor.mul(x, suite.inverse_sqrt(0.5, 8.0)(executor, energy))
        scores = executor.rearrange(
            executor.matmul(x, executor.rearrange(x, torch.t)), lambda t: t[None, None]
        )
        x = executor.matmul(executor.rearrange(suite.softmax(executor, scores, 0), lambda t: t[0, 0]), x)
        for activation in (suite.gelu, suite.silu, suite.relu):
            x = activation(executor, executor.mul_public(x, 0.5))
        return executor.open_to(CLIENT, executor.linear(x, weight, transposed=True))

    return body


PLANS_OF_TEST = [
    PLANS["crypten"],
    PLANS["crypten-stock"],
    get_plan("crypten").replace(truncation="exact", comparison="words"),
]


def test_every_opening_is_listed_and_every_line_is_used(parties: Parties) -> None:
    seen: set[str] = set()
    for plan in PLANS_OF_TEST:
        run = parties(inference(resolve(plan)), plan=plan)
        for channel in run.channels:
            seen |= {reason(frame.label, "crypten") for frame in (*channel.sent, *channel.received)}
    assert seen == set(listed("crypten"))
    assert all(len(why) > 20 for why in listed("crypten").values())


# -- uniformity ----------------------------------------------------------------------------------------------

CELLS = 256
PACKED = ("b2a.packed", "carry.leaf", "carry.node")


def chi_square_limit(cells: int = CELLS) -> float:
    """The value that uniform samples exceed with probability 1e-6 (Wilson and Hilferty's approximation)."""
    freedom = cells - 1
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 4.7534 * spread**0.5) ** 3


def chi_square(samples: torch.Tensor, cells: int = CELLS) -> float:
    """Distance of a sample from the uniform distribution on cells 0, 1, ..."""
    counts = torch.bincount(samples.flatten(), minlength=cells).double()
    expected = samples.numel() / cells
    return float(((counts - expected) ** 2 / expected).sum())


def every_primitive(value: torch.Tensor) -> Callable[[CrypTenArithmetic], object]:
    """Each opening once, of a secret [64, 64] that the client shares; the party's share of it."""

    def body(executor: CrypTenArithmetic) -> object:
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        weight = executor.weight("w", value if executor.rank == SERVER else None, value.shape)
        executor.linear(x, weight)
        executor.linear(x, weight, transposed=True)
        executor.less_than_zero(x)
        executor.matmul(x, x)
        executor.square(executor.mul(x, x))
        return x.value

    return body


SECRETS = {
    "zeros": torch.zeros(64, 64, dtype=torch.float64),
    "ones": torch.ones(64, 64, dtype=torch.float64),
    "large": torch.full((64, 64), -3000.0, dtype=torch.float64),
    "ramp": torch.linspace(-100, 100, 64 * 64, dtype=torch.float64).reshape(64, 64),
}


def opened_words(run: Any) -> dict[str, torch.Tensor]:
    """All words opened for each reason."""
    labels = {frame.label for frame in (*run.channels[SERVER].sent, *run.channels[SERVER].received)}
    return {
        label.rsplit("/", 1)[1]: torch.cat([tensor.flatten() for tensor in run.opened(label)])
        for label in labels
    }


def worst(words: torch.Tensor, why: str) -> float:
    """The largest chi-square of the eight bytes, as a fraction of its limit.

    Of a single bit for b2a, whose other bits are zero; of one byte where bits are sent packed.
    """
    if why == "b2a":
        return chi_square(words, 2) / chi_square_limit(2)
    if why in PACKED:
        return chi_square(words) / chi_square_limit()
    return max(chi_square((words >> shift) & 0xFF) for shift in range(0, 64, 8)) / chi_square_limit()


@pytest.mark.parametrize("secret", SECRETS)
def test_opened_values_are_uniform(parties: Parties, secret: str) -> None:
    seen: set[str] = set()
    for comparison in ("packed", "words"):
        plan = get_plan("crypten").replace(truncation="exact", comparison=comparison)
        for why, opened in opened_words(parties(every_primitive(SECRETS[secret]), plan=plan)).items():
            assert worst(opened, why) < 1, why
            seen.add(why)
    assert seen == set(listed("crypten")) - {"output"}


def test_no_word_is_opened_twice(parties: Parties) -> None:
    """The same secret, opened again and again under fresh masks."""
    value = SECRETS["ones"]

    def body(executor: CrypTenArithmetic) -> None:
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        for _ in range(4):
            executor.mul(x, x)

    words = opened_words(parties(body))["beaver.mul"]
    assert len(set(words.tolist())) == 4 * 2 * value.numel()


def test_messages_do_not_depend_on_secrets(parties: Parties) -> None:
    plan = get_plan("crypten")
    runs = [parties(every_primitive(SECRETS[secret]), plan=plan) for secret in ("zeros", "ramp")]
    shapes = [
        [(frame.label, frame.specs, frame.depth) for frame in run.channels[rank].sent]
        for run in runs
        for rank in (SERVER, CLIENT)
    ]
    assert shapes[0] == shapes[2]
    assert shapes[1] == shapes[3]


@pytest.mark.parametrize(
    "weaken",
    [
        lambda mask: mask & 0xFFFFFFFF,  # too short a range
        lambda mask: mask * 0 + mask.flatten()[:1],  # one mask for all elements
        lambda mask: mask << 1,  # the last bit shows
    ],
    ids=["short", "repeated", "even"],
)
def test_weak_masks_are_noticed(
    parties: Parties, monkeypatch: pytest.MonkeyPatch, weaken: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """The controls of the tests above: results stay right, uniformity does not."""
    strong = Stream.masks

    def weak(self: Stream, request: Request) -> list[torch.Tensor]:
        return [weaken(mask) for mask in strong(self, request)]

    monkeypatch.setattr(Stream, "masks", weak)
    value = SECRETS["ones"]

    def squared(executor: CrypTenArithmetic) -> Any:
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        return executor.open_to(CLIENT, executor.square(x))

    run = parties(squared)
    assert float((run.results[CLIENT] - value**2).abs().max()) <= 2.0**-15
    words = torch.cat([tensor.flatten() for tensor in run.opened("other/beaver.square")])
    assert worst(words, "beaver.square") > 1

    def multiplied(executor: CrypTenArithmetic) -> Any:
        x = executor.share_from(CLIENT, value if executor.rank == CLIENT else None, value.shape)
        executor.linear(x, executor.weight("w", value if executor.rank == SERVER else None, value.shape))
        return x.value

    run = parties(multiplied, plan=get_plan("crypten"))
    words = torch.cat([tensor.flatten() for tensor in run.opened("other/linear")])
    assert worst(words, "linear") > 1


def test_share_is_hidden_from_print() -> None:
    assert "hidden" in repr(Share(torch.zeros(2, dtype=torch.int64), 16))
