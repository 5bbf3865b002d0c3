"""The cases as programs of the suite `fss`, from additive shares of the input to shares of the result.

Peers start from additive shares, so the opening of the input is part of what is counted here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from bench.peers.tasks import Task, block_of
from mpcinfer.backends.parts import needed
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.folded import folded_config
from mpcinfer.suites.fss.attention import row_sums
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.formats import activation_formats, exponential_formats, reciprocal, score_index_bits
from mpcinfer.suites.fss.weights import encoded, matrices
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.registry import get_plan
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.causal import CausalBlocks
from protocols.fss.gates.linear import Linear, ToServerHeld
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import narrow, nearest, truncate_locally, view
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import resolve
from protocols.meta_tensors import no_data
from protocols.share import Held, Share

PLAN = "fss"
_MATRIX = "layer0.ffn.in.weight"
"""Whose formats the case `matmul` has."""
_EXTRA_BITS = 14
"""Fraction bits of 1 / width, and of what a row's mean is subtracted from."""


@dataclass(frozen=True)
class Program:
    """A case, and the formats that the default profile gives it."""

    task: Task

    @cached_property
    def config(self) -> ModelConfig:
        """Before folding."""
        return block_of(self.task.name)[0]

    @cached_property
    def folded(self) -> ModelConfig:
        return folded_config(self.config)

    @cached_property
    def widths(self) -> Widths:
        return Widths(self.folded, None, max_context=self.task.shape[-2])

    @cached_property
    def suite(self) -> FssSuite:
        return resolve(get_plan(PLAN))

    @property
    def input_format(self) -> tuple[int, int]:
        """Fraction bits and ring bits of the input's shares: those that the operation reads."""
        widths, p = self.widths, self.widths.precision
        attention, ffn = widths.attention(0), widths.ffn(0)
        if self.task.name == "softmax-block":
            return p.residual, widths.held_bits
        return {
            "matmul": (ffn.norm.held, ffn.in_bits),
            "relu": (p.activation, ffn.preactivation_bits),
            "gelu": (p.activation, ffn.preactivation_bits),
            "softmax": (p.score, score_index_bits(attention, p.score)),
            "layernorm": (p.residual, widths.residual_bits + _EXTRA_BITS),
            "block": (p.residual, widths.residual_bits),
        }[self.task.name]

    def input(self, value: torch.Tensor | None) -> Share:
        """An additive share of the input: the client has it, the server zeros; None for no data."""
        frac_bits, ring_bits = self.input_format
        shape = (1, *self.task.shape)
        data = no_data(shape) if value is None else (value.double() * 2.0**frac_bits).round().long()
        return Share(data.reshape(shape) if value is not None else data, frac_bits, ring_bits, Held.ADDITIVE)

    @cached_property
    def specs(self) -> dict[str, Matrix]:
        """Of the weights, without data."""
        if self.task.kind == "operation":
            every = matrices(self.folded, self.widths, {_MATRIX})
            return every if self.task.name == "matmul" else {}
        return matrices(self.folded, self.widths, needed(self.folded, "stack"))

    def weights(self) -> dict[str, Matrix]:
        """The server's."""
        if not self.specs:
            return {}
        if self.task.kind == "block":
            config, weights = fold(*block_of(self.task.name))
            made = encoded(config, self.widths, weights)
            return {name: matrix for name, matrix in made.items() if name in self.specs}
        spec = self.specs[_MATRIX]
        weight = torch.from_numpy(self.task.inputs.weights["weight"]).double()
        value = (weight * 2.0**spec.frac_bits).round().to(torch.int32)
        return {_MATRIX: dataclasses.replace(spec, value=value)}

    def run(self, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
        """The case on an executor."""
        with torch.no_grad(), executor.meter.span(self.task.name, self.task.name):
            return _PROGRAMS[self.task.name](self, executor, weights, x)

    def backend(self, executor: Executor) -> FssBackend:
        return FssBackend(executor, self.folded, self.widths, self.suite)

    def decoded(self, y: Share) -> torch.Tensor:
        """A result in the clear, in the shape of the reference."""
        value = y.value.double() / 2.0**y.frac_bits
        if self.task.name != "softmax":
            return value[0]
        tokens = self.task.shape[-1]
        rows = torch.zeros(self.task.shape, dtype=torch.float64).flatten(1)
        rows[:, _seen(tokens)] = value[0]
        return rows.reshape(self.task.shape)


def _seen(tokens: int, rows: slice = slice(None)) -> torch.Tensor:
    """Flat indices of what the queries of some rows see of [T, T]."""
    columns = torch.arange(tokens)
    seen = columns[None, :] <= columns[:, None]
    flat = torch.arange(tokens * tokens).reshape(tokens, tokens)
    return flat[rows][seen[rows]]


def _matmul(program: Program, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
    held = executor.one(ToServerHeld(), x)
    return executor.one(Linear(weights[_MATRIX], held=Held.SERVER_HELD), held)


def _activation(program: Program, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
    p, ffn, kind = program.widths.precision, program.widths.ffn(0), program.task.name
    protocol = program.suite.activations[kind]
    formats = activation_formats(protocol, ffn, p, p.activation, exact_truncation=executor.exact_truncation)
    (x,) = executor.apply(Open(), x)
    index = x
    if protocol.indexed:
        (index,) = narrow(executor, (x, formats.index_frac, formats.index_bits))
    return truncate_locally(executor, protocol(executor, kind, formats, x, index), p.activation)


def _layernorm(program: Program, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
    """Rows minus their means, which is local; then the norm of a block."""
    p, width = program.widths.precision, x.shape[-1]
    mean = executor.mul_integer(executor.sum_last(x), round(2**_EXTRA_BITS / width), _EXTRA_BITS)
    rows = executor.sub(executor.mul_integer(x, 1 << _EXTRA_BITS, _EXTRA_BITS), mean)
    (rows,) = executor.apply(Open(), truncate_locally(executor, rows, p.residual))
    (rows,) = nearest(executor, (rows, p.residual, program.widths.residual_bits))
    backend = program.backend(executor)
    with backend.at(0, "norm1"):
        return backend.norm(rows, None, None, "layernorm", program.config.norm_eps)


def _softmax(program: Program, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
    """As `softmax_attention` has it, with every weight over its row's sum."""
    p, widths, suite = program.widths.precision, program.widths.attention(0), program.suite
    seen = CausalBlocks.of(x.shape[-2], x.shape[-1], x.shape[-3])
    packed = [_packed(executor, x, block) for block in seen.blocks]
    indices = _below_maximum(program, executor, executor.apply(Open(), *packed), seen)
    around = exponential_formats(
        widths, p, coarse=suite.maximum.coarse, exact_truncation=executor.exact_truncation
    )
    powers = [
        truncate_locally(executor, power, p.power) for power in suite.exponential(executor, around, *indices)
    ]
    sums = executor.reduce(row_sums(executor, powers, seen), widths.sum_bits)
    *powers, sums = executor.apply(Open(), *powers, sums)
    of_sums = reciprocal(widths, p, exact_truncation=executor.exact_truncation)
    (inverse,) = executor.apply(Open(), suite.reciprocal(executor, *of_sums, sums))
    frac = widths.weighting.inverse
    quotients = [
        executor.one(
            Product(p.power + frac + 4),
            view(executor, power, p.power),
            view(
                executor, _by_entry(executor, executor.map(inverse, lambda t: t[..., 0]), seen, block), frac
            ),
        )
        for power, block in zip(powers, seen.blocks, strict=True)
    ]
    return executor.concat(quotients, -1)


def _packed(executor: Executor, x: Share, block: slice) -> Share:
    seen = _seen(x.shape[-1], block)
    return executor.map(x, lambda v: v.flatten(-2).index_select(-1, seen.to(v.device)))


def _below_maximum(
    program: Program, executor: Executor, scores: tuple[Share, ...], seen: CausalBlocks
) -> list[Share]:
    p, widths, maximum = program.widths.precision, program.widths.attention(0), program.suite.maximum
    coarse = [(x, -p.step, score_index_bits(widths, -p.step)) for x in scores]
    fine = [(x, p.score, score_index_bits(widths, p.score)) for x in scores]
    narrowed = narrow(executor, *(coarse if maximum.coarse else ()), *fine)
    compared = executor.concat(narrowed[: len(scores)], -1)
    (peak,) = executor.apply(Open(), maximum(executor, compared, seen.lengths))
    peak = executor.shift_up(peak, p.score - peak.frac_bits)
    below = zip(narrowed[-len(scores) :], seen.blocks, strict=True)
    return [executor.sub(_by_entry(executor, peak, seen, block), x) for x, block in below]


def _by_entry(executor: Executor, rows: Share, seen: CausalBlocks, block: slice) -> Share:
    """A number a row, for every entry of a block's rows."""
    lengths = torch.tensor(seen.lengths[block])
    return executor.map(
        rows,
        lambda t: t[..., block].repeat_interleave(lengths.to(t.device), -1, output_size=int(lengths.sum())),
    )


def _block(program: Program, executor: Executor, weights: Mapping[str, Matrix], x: Share) -> Share:
    bare = not program.folded.block_norms
    x = executor.one(ToServerHeld() if bare else Open(), x)
    return Decoder(program.backend(executor), program.folded, weights).stack(x)


_PROGRAMS: dict[str, Callable[[Program, Executor, Mapping[str, Matrix], Share], Share]] = {
    "matmul": _matmul,
    "relu": _activation,
    "gelu": _activation,
    "layernorm": _layernorm,
    "softmax": _softmax,
    "block": _block,
    "softmax-block": _block,
}
