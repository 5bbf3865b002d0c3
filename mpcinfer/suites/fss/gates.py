"""Every gate of the FSS suite, counted on one element or one small shape of a model's wires."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE, Entry, SampleCost, source_of, summary_of
from mpcinfer.suites.fss.catalogue import Wires, wires_of
from mpcinfer.suites.fss.weights import matrices
from mpcinfer.suites.fss.wires import activation_wires, score_index_bits
from parties.meter import Meter
from protocols.fss.activation_protocols import LinesActivation, LookupActivation
from protocols.fss.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.coarse_maximum import CoarseMaximum
from protocols.fss.comparison import IsNegative
from protocols.fss.counting_machine import Counting
from protocols.fss.embedding import HoldTokens
from protocols.fss.exponential_protocols import SplitExponentialProtocol
from protocols.fss.faithful_truncation import FaithfulTruncation
from protocols.fss.gate import Gate, shape_only
from protocols.fss.line_activation import GatedLineActivation, LineActivation
from protocols.fss.linear import Hold, Linear, ToClient, Veil
from protocols.fss.lookup_activation import Activation, GatedActivation
from protocols.fss.lookup_exponential import Exponential
from protocols.fss.matrix import Matrix
from protocols.fss.octaves import Octaves
from protocols.fss.opening import Open, Publish
from protocols.fss.plans import PLANS
from protocols.fss.polynomial import Product, SumOfSquares
from protocols.fss.public_rows import OwnTokens, PublicRows
from protocols.fss.split_exponential import SplitExponential
from protocols.fss.square import Square
from protocols.fss.widening import Widen
from protocols.meta_tensors import no_data
from protocols.share import Held, Share
from protocols.trust import Security

GateSample = tuple[Gate, tuple[Share, ...], int, str]
"""A gate, its inputs, how many elements it computes and what one is."""


def _openings(wires: Wires) -> Iterator[GateSample]:
    p, attention, rows = wires.widths.precision, wires.widths.attention(0), (wires.tokens, wires.config.width)
    cut = attention.score_bits - (p.query + p.key - p.score)
    yield Open(), (shape_only(wires.scores, p.score, cut),), math.prod(wires.scores), "score"
    whole = shape_only(rows, p.activation, wires.widths.ffn(0).wire_bits, Held.SERVER_MASKED)
    yield Publish(), (whole,), math.prod(rows), "element"
    held = attention.norm.held
    yield Hold(), (shape_only(rows, held, attention.qkv_bits),), math.prod(rows), "element"
    value = wires.masked(rows, p.value, attention.wire_integer + p.value)
    yield Widen(attention.mix_bits), (value,), math.prod(rows), "element"
    held = shape_only(rows, p.residual, wires.widths.residual_bits, Held.SERVER_HELD)
    yield Veil(), (held,), math.prod(rows), "element"
    logits = shape_only((1, wires.config.vocabulary), p.logits, wires.widths.logits_bits, Held.SERVER_HELD)
    yield ToClient(), (logits,), wires.config.vocabulary, "logit"


def _linear(wires: Wires) -> Iterator[GateSample]:
    config, attention, p = wires.config, wires.widths.attention(0), wires.widths.precision
    square = (config.width, config.width)
    weight = Matrix("w", square, attention.reading, attention.qkv_bits, no_data(square))
    x = shape_only((wires.tokens, config.width), attention.norm.held, attention.qkv_bits, Held.SERVER_HELD)
    yield Linear(weight), (x,), wires.tokens * config.width, "element"
    tokens = HoldTokens(None, wires.tokens, config.vocabulary, wires.widths.embedding_bits)
    yield tokens, (), wires.tokens, "token"
    own = OwnTokens(None, wires.tokens, config.vocabulary)
    yield own, (), wires.tokens, "token"
    table = matrices(config, wires.widths, ["embed.tokens"], public_table=True)["embed.tokens"]
    yield PublicRows(table), own.outputs(), wires.tokens, "token"
    queries = wires.masked((config.heads, wires.tokens, config.head_width), p.query, attention.score_bits)
    keys = wires.masked((config.heads, wires.tokens, config.head_width), p.key, attention.score_bits)
    seen = CausalBlocks.whole(wires.tokens, wires.tokens)
    own = shape_only(keys.shape, p.key, attention.score_bits)
    yield CausalProduct(seen), (queries, keys, own), math.prod(wires.scores), "score"
    weights = wires.masked(wires.scores[1:], p.power, attention.mix_bits)
    values = wires.masked(keys.shape, p.value, attention.mix_bits)
    own = shape_only(values.shape, p.value, attention.mix_bits)
    yield CausalMix(seen), (weights, values, own), math.prod(keys.shape), "result"


def _products(wires: Wires) -> Iterator[GateSample]:
    p, widths, norm = wires.widths.precision, wires.widths, wires.widths.attention(0).norm
    attention = widths.attention(0)
    rows = (wires.tokens, wires.config.width)
    x = wires.masked(rows, p.residual, widths.residual_bits)
    view = Share(x.value, norm.keep, x.ring_bits, Held.MASKED, p.residual - norm.keep)
    yield SumOfSquares(norm.square_bits), (view,), math.prod(rows), "element"
    scores = wires.masked(wires.scores, p.square, wires.power.integer_bits + p.square + 2)
    narrow = Share(scores.value, p.square, scores.ring_bits, Held.MASKED, 0)
    yield Square(wires.power.inner_bits(2)), (narrow,), math.prod(wires.scores), "score"
    ring_bits = attention.qkv_bits + norm.cut
    inverse = wires.masked((wires.tokens, 1), norm.frac, ring_bits)
    yield Product(ring_bits), (view, inverse), math.prod(rows), "element"


def _comparisons(wires: Wires) -> Iterator[GateSample]:
    p, widths, attention = wires.widths.precision, wires.widths, wires.widths.attention(0)
    rows = (wires.tokens, wires.config.width)
    index = wires.masked(rows, p.score, score_index_bits(attention, p.score))
    yield IsNegative(), (index,), math.prod(rows), "element"
    keep = attention.norm.keep
    x = wires.masked(rows, p.residual, widths.residual_bits)
    yield (
        FaithfulTruncation(p.residual - keep, widths.residual_bits),
        (x,),
        math.prod(rows),
        "element",
    )
    coarse = wires.masked(wires.scores, -p.step, score_index_bits(attention, -p.step))
    yield CoarseMaximum(wires.lengths), (coarse,), math.prod(wires.scores), "score"


def _functions(wires: Wires) -> Iterator[GateSample]:
    attention, exponential = wires.widths.attention(0), wires.exponential(faithful=False)
    scores = wires.masked(wires.scores, exponential.index_frac, exponential.index_bits)
    yield Exponential(**dataclasses.asdict(exponential)), (scores,), math.prod(scores.shape), "score"
    yield SplitExponentialProtocol().gate(exponential), (scores,), math.prod(scores.shape), "score"
    norm, (root, octaves) = attention.norm, wires.inverse_root(faithful=False)
    squares = wires.masked((wires.tokens, 1), 2 * norm.keep, norm.square_bits)
    yield Octaves(root, **dataclasses.asdict(octaves)), (squares,), wires.tokens, "row"


def _activations(wires: Wires) -> Iterator[GateSample]:
    p, ffn = wires.widths.precision, wires.widths.ffn(0)
    x = wires.masked((wires.tokens, wires.config.hidden), p.activation, ffn.wire_bits)
    view, elements = Share(x.value, x.frac_bits, x.ring_bits, x.held, 0), math.prod(x.shape)
    looked_up, lines = LookupActivation(), LinesActivation()
    around = activation_wires(looked_up, ffn, p, p.activation, faithful=False)
    index, fields = wires.masked(x.shape, around.index_frac, around.index_bits), dataclasses.asdict(around)
    yield Activation("gelu", **fields), (view, index), elements, "element"
    yield GatedActivation("silu", **fields), (view, index, view), elements, "element"
    around = activation_wires(lines, ffn, p, p.activation, faithful=False)
    index = wires.masked(x.shape, around.index_frac, around.index_bits)
    yield LineActivation("gelu", **lines.fields(around)), (index, view), elements, "element"
    yield GatedLineActivation("silu", **lines.fields(around)), (index, view, view), elements, "element"


_GROUPS: tuple[Callable[[Wires], Iterator[GateSample]], ...] = (
    _linear,
    _openings,
    _products,
    _comparisons,
    _activations,
    _functions,
)

SAMPLED = (
    Linear,
    HoldTokens,
    OwnTokens,
    PublicRows,
    CausalProduct,
    CausalMix,
    Open,
    Publish,
    Hold,
    Widen,
    Veil,
    ToClient,
    SumOfSquares,
    Square,
    Product,
    IsNegative,
    FaithfulTruncation,
    CoarseMaximum,
    Activation,
    GatedActivation,
    LineActivation,
    GatedLineActivation,
    Exponential,
    SplitExponential,
    Octaves,
)
"""The gates that have a sample, in their order."""


def gate_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """What every gate costs on the wires of plan `fss`; `config` is folded."""
    wires = wires_of(config, tokens, PLANS["fss"])
    return [_entry(*sample) for group in _GROUPS for sample in group(wires)]


def _entry(gate: Gate, inputs: tuple[Share, ...], elements: int, element: str) -> Entry:
    meter = Meter(timed=False)
    with meter.span(SAMPLE):
        Counting(meter).apply(gate, *inputs)
    cost = SampleCost.of(meter.bill(), elements, element)
    return Entry(
        suite="fss",
        operation=gate.reason,
        name=type(gate).__name__,
        summary=summary_of(type(gate)),
        security=Security.SEMI_HONEST_DEALER.value,
        cost=cost,
        error=None,
        source=source_of(type(gate)),
    )
