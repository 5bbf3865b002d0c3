"""The server's weights for the FSS suite: folded, centred, on their grids, brought into a session masked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.fold import centre, scale_query
from mpcinfer.models.site import INNER_NORMS
from mpcinfer.suites.fss.inner_norm_widths import InnerNormWidths
from mpcinfer.suites.fss.range_check import evaluation_span
from mpcinfer.suites.fss.residual_widths import residual_gain_bits
from mpcinfer.suites.fss.widths import Widths
from parties.errors import RangeError
from parties.link import Link
from parties.meter import CLIENT, Meter, Phase
from parties.randomness import Randomness
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.gate import Message
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.chunks import FlowControl, receive_in_chunks, send_in_chunks
from protocols.fss.preprocessing.encrypted import require_norm
from protocols.fss.preprocessing.matrix import Matrix, PublicCopy
from protocols.fss.preprocessing.seeds import WeightStreams
from protocols.meta_tensors import no_data
from protocols.tensors import drawn

_ADDED = ("embed.positions", "attn.offset", "attn.epsilon")
"""What the server adds; it stays there."""
_MATRICES = (".weight", "embed.tokens", "attn.log_temperature", *_ADDED)
"""Names of what is multiplied, looked up, or added by an operation of its own; biases go with their
matrices."""
_CACHED_ELEMENTS = 1 << 17
"""Elements of a weight that are encoded at once: a megabyte as float64."""
RESIDUAL_GAINS = (".residual1.weight", ".residual2.weight")
"""Gains of residuals between blocks; rows that layer norms read after them need no mean."""
NORM_FACTOR = ".norm.input.weight", ".norm1.input.weight", ".norm2.input.weight"
"""What pointwise norms multiply the residual with."""
EPSILON_FRAC = 24
"""Fraction bits of the epsilons of power attention."""
_PUBLIC = "setup in the clear"
"""Label of what the client is given as it is."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a plan does with the server's weights.

    Attributes:
        public_table: its embedding gives the token table to the client, in the clear.
        encrypted: layers multiply under encryption, and no weight is brought in masked.
    """

    public_table: bool = False
    encrypted: bool = False

    @classmethod
    def of(cls, suite: FssSuite) -> Sharing:
        """A plan's, of its protocols."""
        return cls(suite.embedding.public_table, suite.linear.encrypted)


MASKED = Sharing()


def matrices(
    config: ModelConfig,
    widths: Widths,
    only: Collection[str] | None = None,
    *,
    sharing: Sharing = MASKED,
) -> dict[str, Matrix]:
    """Name, shape, scale and ring of everything that the parties share, without data.

    Biases go with their matrices. Positions stay at the server, who adds them; where sequences are padded
    they are private and looked up as tokens are.

    Args:
        config: the shape, norms folded.
        only: names to keep, where a part of the model is run.
        sharing: what the plan does with weights.
    """
    result: dict[str, Matrix] = {}
    for name, shape in weight_shapes(config).items():
        if not name.endswith(_MATRICES) or (only is not None and name not in only):
            continue
        if name.endswith(RESIDUAL_GAINS) and config.norm == "layernorm":
            result |= _mean_of(name, widths)
        matrix = Matrix(
            name, shape, _frac_bits(name, widths), _ring_bits(name, config, widths), no_data(shape)
        )
        if name.endswith(_ADDED) and not (name == "embed.positions" and widths.padded):
            matrix = dataclasses.replace(matrix, masked=False)
        if name == "embed.tokens" and sharing.public_table:
            public = PublicCopy(matrix.value, widths.embedding_bits)
            matrix = dataclasses.replace(matrix, masked=config.tied_head, public=public)
        result[name] = matrix
    if sharing.encrypted:
        return {name: _encrypted(matrix) for name, matrix in result.items()}
    return result


def _encrypted(matrix: Matrix) -> Matrix:
    """What would be masked is multiplied under encryption."""
    return dataclasses.replace(matrix, masked=False, encrypted=matrix.masked)


def _mean_of(gain: str, widths: Widths) -> dict[str, Matrix]:
    """What gives the mean of a residual's row, a layer of one column beside its gain."""
    shape = (widths.config.width, 1)
    name = gain.removesuffix("weight") + "mean"
    bits = residual_gain_bits(widths, gain)
    return {name: Matrix(name, shape, widths.residual_gain_frac, bits, no_data(shape))}


def encoded(
    config: ModelConfig,
    widths: Widths,
    weights: Mapping[str, torch.Tensor],
    *,
    sharing: Sharing = MASKED,
    only: Collection[str] | None = None,
) -> dict[str, Matrix]:
    """The server's matrices in fixed point, in the narrowest integers that hold them.

    Args:
        config, weights: norms folded (`fold`). What 1 / sqrt(K) has beyond a power of two is folded here.
        sharing: as for `matrices`.
        only: names to encode; None for all.

    Raises:
        RangeError: a weight does not fit 31 bits, or is too large for encryption.
    """
    expected = matrices(config, widths, sharing=sharing)
    return {
        name: _encoded(config, matrix, weights)
        for name, matrix in expected.items()
        if only is None or name in only
    }


def _encoded(config: ModelConfig, matrix: Matrix, weights: Mapping[str, torch.Tensor]) -> Matrix:
    """One matrix, and the bias that goes with it."""
    value = _on_grid(config, matrix, _source(matrix, weights))
    if matrix.encrypted:
        require_norm(matrix.name, value, matrix.frac_bits)
    bias_name = matrix.name.removesuffix(".weight") + ".bias"
    bias = weights[bias_name].to(torch.float64, copy=True) if bias_name in weights else None
    if bias is not None:
        _finish(config, bias_name, bias)
    public = None if matrix.public is None else PublicCopy(value, matrix.public.ring_bits)
    return dataclasses.replace(matrix, value=value, bias=bias, public=public)


def _source(matrix: Matrix, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The weight in float; a mean's is the gain over the width."""
    if matrix.name in weights:
        return weights[matrix.name]
    gain = weights[matrix.name.removesuffix("mean") + "weight"]
    return (gain.double() / len(gain))[:, None]


def _on_grid(config: ModelConfig, matrix: Matrix, weight: torch.Tensor) -> torch.Tensor:
    """The weight in fixed point: a few rows at a time, which stay in cache, in the narrowest type so far."""
    if len(matrix.shape) == 1:
        grid, largest = _rounded(config, matrix, weight)
        _require_small(matrix, largest)
        return grid.to(torch.int64)
    value = torch.empty(matrix.shape, dtype=torch.int16)
    rows = max(1, _CACHED_ELEMENTS // matrix.shape[-1])
    for start in range(0, matrix.shape[0], rows):
        grid, largest = _rounded(config, matrix, weight[start : start + rows])
        _require_small(matrix, largest)
        if largest >= 2.0**15 and value.dtype == torch.int16:
            value = value.to(torch.int32)
        value[start : start + rows] = grid
    return value


def _rounded(config: ModelConfig, matrix: Matrix, rows: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Rows of a weight in units of the last place, float64, and the largest magnitude among them."""
    grid = rows.to(torch.float64, copy=True)
    _finish(config, matrix.name, grid)
    grid.mul_(2.0**matrix.frac_bits).round_()
    return grid, max((abs(float(end)) for end in torch.aminmax(grid)), default=0.0)


def _require_small(matrix: Matrix, largest: float) -> None:
    if not largest < 2.0**31:
        raise RangeError(f"weight {matrix.name}: {largest / 2.0**matrix.frac_bits:.4g} is too large")


def _finish(config: ModelConfig, name: str, value: torch.Tensor) -> None:
    """What is folded last, in place."""
    centre(config, name, value)
    scale_query(config, name, value)
    if name.endswith("attn.log_temperature"):
        value.neg_().exp_()


def send_setup(link: Link, own: Mapping[str, Matrix], streams: WeightStreams) -> None:
    """The server's part of the setup: weights minus masks, to the client, and what the plan gives away."""
    flow = FlowControl(link)
    with link.meter.phase(Phase.SETUP):
        for name, matrix in own.items():
            with _billed(link.meter, name):
                if matrix.masked:
                    mask = streams(name, matrix.shape)
                    _send(link, flow, matrix.value, matrix.ring_bits, f"setup/{name}", mask)
                if matrix.public is not None:
                    _send(link, flow, matrix.public.value, matrix.public.ring_bits, f"{_PUBLIC}/{name}")
        flow.settle()


@contextmanager
def _billed(meter: Meter, name: str) -> Generator[None]:
    """Charges what is sent of a weight to the set-up of its evaluation."""
    with evaluation_span(meter, name), meter.span("setup", "setup"):
        yield


def _send(
    link: Link, flow: FlowControl, value: torch.Tensor, bits: int, label: str, mask: Randomness | None = None
) -> None:
    """A weight, minus its mask where something draws one."""
    flat = value.reshape(-1)

    def chunk(at: slice) -> torch.Tensor:
        part = flat[at].to(torch.int64)
        return part if mask is None else part - drawn(mask, (len(part),), 64)

    send_in_chunks(link, flat.numel(), bits, label, chunk, flow)


def receive_setup(
    link: Link, expected: Mapping[str, Matrix], tell: Callable[[int, int], None] | None = None
) -> dict[str, Matrix]:
    """The client's part: matrices whose values are the weights minus their masks.

    Args:
        tell: is told, piece by piece, how many bytes have come, and of how many.
    """
    received, done = dict[str, Matrix](), 0
    of = (
        sum(math.prod(matrix.shape) * bits for matrix in expected.values() for bits in _sent_bits(matrix))
        // 8
    )

    def came(size: int) -> None:
        nonlocal done
        done += size
        if tell is not None:
            tell(done, of)

    flow = FlowControl(link, came)
    with link.meter.phase(Phase.SETUP):
        for name, matrix in expected.items():
            value, public = matrix.value, matrix.public
            with _billed(link.meter, name):
                if matrix.masked:
                    value = receive_in_chunks(link, matrix.shape, matrix.ring_bits, f"setup/{name}", flow)
                if public is not None:
                    at = f"{_PUBLIC}/{name}"
                    table = receive_in_chunks(link, matrix.shape, public.ring_bits, at, flow)
                    public = PublicCopy(table, public.ring_bits)
            received[name] = dataclasses.replace(matrix, value=value, public=public)
    return received


def _sent_bits(matrix: Matrix) -> Generator[int]:
    """Bits an element of what the setup sends of a matrix."""
    if matrix.masked:
        yield matrix.ring_bits
    if matrix.public is not None:
        yield matrix.public.ring_bits


def count_setup(counting: Counting, expected: Mapping[str, Matrix]) -> None:
    """The bill of the setup."""
    with counting.meter.phase(Phase.SETUP):
        for name, matrix in expected.items():
            with _billed(counting.meter, name):
                if matrix.masked:
                    counting.send(Message((CLIENT,), ((matrix.ring_bits, matrix.shape),)))
                if matrix.public is not None:
                    counting.send(Message((CLIENT,), ((matrix.public.ring_bits, matrix.shape),)))


def _frac_bits(name: str, widths: Widths) -> int:
    if name == "head.norm.weight":
        return widths.gain_frac
    if (inner := _inner_norm(name, widths)) is not None:
        return inner.gain_frac
    if name.endswith((*RESIDUAL_GAINS, "head.residual.weight")):
        return widths.residual_gain_frac
    if name == "head.pooler.weight":
        return widths.pooler.reading
    if name.endswith("attn.offset"):
        return widths.precision.query + widths.precision.key
    if name.endswith("attn.epsilon"):
        return EPSILON_FRAC
    if name.endswith((".attn.qkv.weight", ".attn.out.weight", ".ffn.in.weight")):
        layer = int(name.split(".", maxsplit=1)[0].removeprefix("layer"))
        if name.endswith("out.weight"):
            return widths.attention(layer).writing
        return (widths.attention(layer) if ".attn." in name else widths.ffn(layer)).reading
    return widths.precision.embedding if name.startswith("embed.") else widths.precision.weight


def _inner_norm(name: str, widths: Widths) -> InnerNormWidths | None:
    """Of a gain inside a block; None for other weights."""
    layer, _, part = name.removesuffix(".weight").partition(".")
    for inner in INNER_NORMS:
        if part == inner:
            return widths.inner_norm(int(layer.removeprefix("layer")), inner)
    return None


def _ring_bits(name: str, config: ModelConfig, widths: Widths) -> int:
    """The widest ring in which a weight is used."""
    if name.endswith(NORM_FACTOR):
        return widths.pointwise(name.removesuffix(".input.weight")).in_bits
    if name == "embed.tokens":
        return max(widths.embedding_bits, widths.head_bits if config.tied_head else 0)
    if name.startswith("embed."):
        return widths.embedding_bits
    if name.endswith((*RESIDUAL_GAINS, "head.residual.weight")):
        return residual_gain_bits(widths, name)
    if name == "head.pooler.weight":
        return widths.pooler.in_bits
    if name.startswith("head."):
        return widths.input_bits if name == "head.input.weight" else widths.head_bits
    if (inner := _inner_norm(name, widths)) is not None:
        return inner.ring_bits
    layer, part = name.split(".", 1)
    index = int(layer.removeprefix("layer"))
    if part.startswith("attn."):
        attention = widths.attention(index)
        rings = {"attn.qkv.weight": attention.qkv_bits, "attn.out.weight": attention.out_bits}
        return rings.get(part, attention.qkv_bits)
    ffn = widths.ffn(index)
    return ffn.in_bits if part == "ffn.in.weight" else ffn.out_bits
