"""The maximum of few values by counting, over rows of many lengths."""

from __future__ import annotations

import math

import pytest
import torch

from parties.errors import ConfigError
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares, shape_only
from protocols.fss.gates.coarse_maximum import CoarseMaximum
from protocols.fss.preprocessing.correlations import Idpf, Packed
from protocols.fss.ring import signed
from protocols.share import Held, Share
from protocols.tensors import to_tensor
from tests.protocols.fss.harness import Program, Secret, run
from tests.protocols.fss.uniformity import assert_uniform

LENGTHS = (1, 2, 3, 7, 8, 40, 5)


def maxima(lengths: tuple[int, ...]) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(CoarseMaximum(lengths), x)

    return program


def expected(x: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.stack([row.amax(-1) for row in x.split(lengths, -1)], -1)


def values(shape: tuple[int, ...], bits: int) -> torch.Tensor:
    return signed(to_tensor(InsecureTestRandom(bits).ring(shape, bits)), bits)


def test_every_pair_and_every_mask() -> None:
    grid = torch.cartesian_prod(torch.arange(-4, 4), torch.arange(-4, 4), torch.arange(8), torch.arange(8))
    x, mask = grid[:, :2], grid[:, 2:]
    result = run(maxima((2,)), [Secret(x, ring_bits=3, mask=mask)])
    assert torch.equal(result.secret(), x.amax(-1, keepdim=True))
    assert torch.equal(result.clear[0].value, x.amax(-1, keepdim=True))


@pytest.mark.parametrize("ring_bits", [3, 5, 7, 8])
def test_rows_of_many_lengths(ring_bits: int) -> None:
    x = values((3, 2, sum(LENGTHS)), ring_bits)
    result = run(maxima(LENGTHS), [Secret(x, -4, ring_bits)])
    assert torch.equal(result.secret(), expected(x, LENGTHS))
    assert torch.equal(result.clear[0].value, expected(x, LENGTHS))
    result.check_bill()
    assert result.counted.rounds == 1


@pytest.mark.parametrize("ring_bits", [3, 8])
@pytest.mark.parametrize("length", [127, 128, 255, 256])
def test_rows_of_equal_entries(length: int, ring_bits: int) -> None:
    """Counts as large as a row: the least value, the largest, and one in between."""
    top = (1 << (ring_bits - 1)) - 1
    for value in (-top - 1, -1, top):
        result = run(maxima((length,)), [Secret(torch.full((length,), value), ring_bits=ring_bits)])
        assert result.secret().item() == value


@pytest.mark.parametrize("length", [600, 5000])
def test_long_rows(length: int) -> None:
    """Counts of more than 8 bits are tested for zero by keys of point functions."""
    x = values((2, length + 3), 4)
    result = run(maxima((length, 3)), [Secret(x, ring_bits=4)])
    assert torch.equal(result.secret(), expected(x, (length, 3)))
    result.check_bill()
    correlations = CoarseMaximum((length, 3)).correlations(shape_only(x.shape, 0, 4, Held.MASKED))
    assert isinstance(correlations["zero0.0"], Idpf)
    assert isinstance(correlations["zero1.0"], Packed)


def test_many_counts_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors and zero tests, a few at a time: the same results and the same bill."""
    x, lengths = values((3, 340), 4), (40, 300)
    whole = run(maxima(lengths), [Secret(x, ring_bits=4)])
    monkeypatch.setattr("protocols.fss.gates.coarse_maximum._TESTED", 8)
    monkeypatch.setattr("protocols.fss.gates.one_hot.PIECE_BYTES", 1000)
    done = run(maxima(lengths), [Secret(x, ring_bits=4)])
    done.check_bill()
    assert torch.equal(done.secret(), expected(x, lengths))
    assert done.counted == whole.counted


def test_key_bytes() -> None:
    """A head of causal rows of 128 tokens at 7 bits: vectors as wide as a row's counts, a table for each."""
    lengths = tuple(range(1, 129))
    x = shape_only((sum(lengths),), 0, 7, Held.MASKED)
    gate = CoarseMaximum(lengths)
    widths = [max(3, length.bit_length()) for length in lengths]
    tables = sum(127 * (1 << width) * 7 // 8 for width in widths)
    server = sum(item.sent_bytes[0] for item in gate.correlations(x).values())
    vectors = sum(128 * length * width // 8 for length, width in zip(lengths, widths, strict=True))
    assert server == vectors + tables
    assert sum(item.sent_bytes[1] for item in gate.correlations(x).values()) == 0
    (message,) = gate.messages(x)
    counts = [(width, widths.count(width)) for width in sorted(set(widths))]
    assert message.payload_bytes == sum(math.ceil(127 * rows * width / 8) for width, rows in counts)


@pytest.mark.parametrize("secret", [-4, 2])
def test_what_is_opened_is_uniform(secret: int) -> None:
    x = torch.full((300, 12), secret)
    x[:, 5] = -1
    opened = run(maxima((2, 10)), [Secret(x, ring_bits=3)]).opened()
    assert [(label, bits) for label, bits, _ in opened] == [("other/maximum", 3), ("other/maximum", 4)]
    for _, bits, counts in opened:
        for threshold in counts.reshape(300, -1, 7).unbind(-1):
            if threshold.numel() >= 800:
                assert_uniform(threshold, bits)
        assert_uniform(counts, bits)


@pytest.mark.parametrize(
    ("lengths", "ring_bits"), [((), 7), ((0, 3), 7), ((1 << 16,), 7), ((2,), 7), ((3,), 9), ((3,), 2)]
)
def test_what_does_not_fit_is_refused(lengths: tuple[int, ...], ring_bits: int) -> None:
    with pytest.raises(ConfigError):
        run(maxima(lengths), [Secret(torch.zeros(3, dtype=torch.int64), ring_bits=ring_bits)])
