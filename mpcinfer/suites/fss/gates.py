"""Every gate of the FSS suite, counted on one element or one small shape of a model's formats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE, Entry, SampleCost, source_of, summary_of
from mpcinfer.suites.fss.formats import activation_formats, score_index_bits
from mpcinfer.suites.fss.samples import ModelFormats, formats_of
from mpcinfer.suites.fss.weights import Sharing, matrices
from parties.meter import Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.gate import Gate, shape_only
from protocols.fss.gates.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.gates.coarse_maximum import CoarseMaximum
from protocols.fss.gates.comparison import IsNegative
from protocols.fss.gates.embedding import TokensToServerHeld
from protocols.fss.gates.exact_truncation import TruncateExactly
from protocols.fss.gates.line_activation import GatedLineActivation, LineActivation
from protocols.fss.gates.line_tanh import RESULT_FRAC, TanhOnLines
from protocols.fss.gates.linear import Linear, MaskAtServer, RevealToClient, ToServerHeld
from protocols.fss.gates.lookup_activation import Activation, GatedActivation
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.lookup_tanh import TanhLookup
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.gates.pairs import ReadPairs, SumOfPairs, pair_count
from protocols.fss.gates.polynomial import Product, SumOfSquares
from protocols.fss.gates.public_rows import OwnTokens, PublicRows
from protocols.fss.gates.range_reduction import RangeReduction
from protocols.fss.gates.split_exponential import SplitExponential
from protocols.fss.gates.square import Square
from protocols.fss.gates.widening import Widen
from protocols.fss.operations.activation_protocols import LinesActivation, LookupActivation, LookupTanh
from protocols.fss.operations.exponential_protocols import SplitExponentialProtocol
from protocols.fss.plans import PLANS
from protocols.fss.preprocessing.matrix import Matrix
from protocols.meta_tensors import no_data
from protocols.share import Held, Share
from protocols.trust import Security

SAMPLE_CAP = 50.0

WORD = 64
GateSample = tuple[Gate, tuple[Share, ...], int, str]
"""A gate, its inputs, how many elements it computes and what one is."""


def _openings(formats: ModelFormats) -> Iterator[GateSample]:
    p, attention, rows = (
        formats.widths.precision,
        formats.widths.attention(0),
        (formats.tokens, formats.config.width),
    )
    cut = attention.score_bits - (p.query + p.key - p.score)
    yield Open(), (shape_only(formats.scores, p.score, cut),), math.prod(formats.scores), "score"
    whole = shape_only(rows, p.activation, formats.widths.ffn(0).preactivation_bits, Held.SERVER_MASKED)
    yield OpenToClient(), (whole,), math.prod(rows), "element"
    held = attention.norm.held
    yield ToServerHeld(), (shape_only(rows, held, attention.qkv_bits),), math.prod(rows), "element"
    value = formats.masked(rows, p.value, attention.qkv_integer + p.value)
    yield Widen(attention.mix_bits), (value,), math.prod(rows), "element"
    held = shape_only(rows, p.residual, formats.widths.residual_bits, Held.SERVER_HELD)
    yield MaskAtServer(), (held,), math.prod(rows), "element"
    logits = shape_only(
        (1, formats.config.vocabulary), p.logits, formats.widths.logits_bits, Held.SERVER_HELD
    )
    yield RevealToClient(), (logits,), formats.config.vocabulary, "logit"


def _linear(formats: ModelFormats) -> Iterator[GateSample]:
    config, attention, p = formats.config, formats.widths.attention(0), formats.widths.precision
    square = (config.width, config.width)
    weight = Matrix("w", square, attention.reading, attention.qkv_bits, no_data(square))
    x = shape_only((formats.tokens, config.width), attention.norm.held, attention.qkv_bits, Held.SERVER_HELD)
    yield Linear(weight), (x,), formats.tokens * config.width, "element"
    tokens = TokensToServerHeld(None, formats.tokens, config.vocabulary, formats.widths.embedding_bits)
    yield tokens, (), formats.tokens, "token"
    own = OwnTokens(None, formats.tokens, config.vocabulary)
    yield own, (), formats.tokens, "token"
    table = matrices(config, formats.widths, ["embed.tokens"], sharing=Sharing(public_table=True))[
        "embed.tokens"
    ]
    yield PublicRows(table), own.outputs(), formats.tokens, "token"
    queries = formats.masked((config.heads, formats.tokens, config.head_width), p.query, attention.score_bits)
    keys = formats.masked((config.heads, formats.tokens, config.head_width), p.key, attention.score_bits)
    seen = CausalBlocks.whole(formats.tokens, formats.tokens)
    own = shape_only(keys.shape, p.key, attention.score_bits)
    yield CausalProduct(seen), (queries, keys, own), math.prod(formats.scores), "score"
    weights = formats.masked(formats.scores[1:], p.power, attention.mix_bits)
    values = formats.masked(keys.shape, p.value, attention.mix_bits)
    own = shape_only(values.shape, p.value, attention.mix_bits)
    yield CausalMix(seen), (weights, values, own), math.prod(keys.shape), "result"


def _states(formats: ModelFormats) -> Iterator[GateSample]:
    """In words: what states of real models take."""
    config, p = formats.config, formats.widths.precision
    heads, count, width = config.heads, formats.tokens, config.head_width
    rows = formats.masked((heads, count, width), p.key, WORD)
    values = formats.masked((heads, count, width + 1), p.value, WORD)
    own = shape_only(values.shape, p.value, WORD)
    yield SumOfPairs(), (rows, values, own), heads * count, "key"
    sums = formats.masked((heads, pair_count(width), width + 1), p.value, WORD)
    own = shape_only(sums.shape, p.value, WORD)
    yield ReadPairs(), (rows, sums, own), heads * count, "query"


def _products(formats: ModelFormats) -> Iterator[GateSample]:
    p, widths, norm = formats.widths.precision, formats.widths, formats.widths.attention(0).norm
    attention = widths.attention(0)
    rows = (formats.tokens, formats.config.width)
    x = formats.masked(rows, p.residual, widths.residual_bits)
    view = Share(x.value, norm.input_frac, x.ring_bits, Held.MASKED, p.residual - norm.input_frac)
    yield SumOfSquares(norm.square_bits), (view,), math.prod(rows), "element"
    scores = formats.masked(formats.scores, p.square, formats.power.integer_bits + p.square + 2)
    narrow = Share(scores.value, p.square, scores.ring_bits, Held.MASKED, 0)
    yield Square(formats.power.inner_bits(2)), (narrow,), math.prod(formats.scores), "score"
    ring_bits = attention.qkv_bits + norm.dropped_bits
    inverse = formats.masked((formats.tokens, 1), norm.frac, ring_bits)
    yield Product(ring_bits), (view, inverse), math.prod(rows), "element"


def _comparisons(formats: ModelFormats) -> Iterator[GateSample]:
    p, widths, attention = formats.widths.precision, formats.widths, formats.widths.attention(0)
    rows = (formats.tokens, formats.config.width)
    index = formats.masked(rows, p.score, score_index_bits(attention, p.score))
    yield IsNegative(), (index,), math.prod(rows), "element"
    input_frac = attention.norm.input_frac
    x = formats.masked(rows, p.residual, widths.residual_bits)
    yield (
        TruncateExactly(p.residual - input_frac, widths.residual_bits),
        (x,),
        math.prod(rows),
        "element",
    )
    coarse = formats.masked(formats.scores, -p.step, score_index_bits(attention, -p.step))
    yield CoarseMaximum(formats.lengths), (coarse,), math.prod(formats.scores), "score"


def _functions(formats: ModelFormats) -> Iterator[GateSample]:
    attention, exponential = formats.widths.attention(0), formats.exponential(exact_truncation=False)
    scores = formats.masked(formats.scores, exponential.index_frac, exponential.index_bits)
    yield Exponential(**dataclasses.asdict(exponential)), (scores,), math.prod(scores.shape), "score"
    yield SplitExponentialProtocol().gate(exponential), (scores,), math.prod(scores.shape), "score"
    norm, (root, binades) = attention.norm, formats.inverse_root(exact_truncation=False)
    squares = formats.masked((formats.tokens, 1), 2 * norm.input_frac, norm.square_bits)
    yield RangeReduction(root, **binades.of_gate()), (squares,), formats.tokens, "row"


def _activations(formats: ModelFormats) -> Iterator[GateSample]:
    p, ffn = formats.widths.precision, formats.widths.ffn(0)
    x = formats.masked((formats.tokens, formats.config.hidden), p.activation, ffn.preactivation_bits)
    view, elements = Share(x.value, x.frac_bits, x.ring_bits, x.held, 0), math.prod(x.shape)
    looked_up, lines = LookupActivation(), LinesActivation()
    around = activation_formats(looked_up, ffn, p, p.activation, exact_truncation=False)
    index, fields = formats.masked(x.shape, around.index_frac, around.index_bits), around.of_gates()
    yield Activation("gelu", **fields), (view, index), elements, "element"
    yield GatedActivation("silu", **fields), (view, index, view), elements, "element"
    around = activation_formats(lines, ffn, p, p.activation, exact_truncation=False)
    index = formats.masked(x.shape, around.index_frac, around.index_bits)
    yield LineActivation("gelu", **lines.fields(around)), (index, view), elements, "element"
    yield GatedLineActivation("silu", **lines.fields(around)), (index, view, view), elements, "element"


def _caps(formats: ModelFormats) -> Iterator[GateSample]:
    """Of scores up to the sample's, capped as Gemma 2's are."""
    p, integer = formats.widths.precision, formats.widths.attention(0).product_integer
    index_bits = integer + 1 + p.score
    gate = TanhOnLines(
        ring_bits=8 + RESULT_FRAC, index_bits=index_bits, index_frac=p.score, height=SAMPLE_CAP
    )
    yield gate, (formats.masked(formats.scores, p.score, index_bits),), math.prod(formats.scores), "score"


def _pooler(formats: ModelFormats) -> Iterator[GateSample]:
    """Of a pooled row of the sample's width, of numbers up to 16."""
    p, width = formats.widths.precision, formats.config.width
    index_frac = p.index + LookupTanh.finer_bits
    gate = TanhLookup(
        ring_bits=formats.widths.logits_bits + p.activation + p.weight - p.logits,
        frac_bits=p.activation,
        index_bits=5 + index_frac,
        index_frac=index_frac,
    )
    yield gate, (formats.masked((1, width), index_frac, 5 + index_frac),), width, "element"


_GROUPS: tuple[Callable[[ModelFormats], Iterator[GateSample]], ...] = (
    _linear,
    _states,
    _openings,
    _products,
    _comparisons,
    _activations,
    _pooler,
    _caps,
    _functions,
)

SAMPLED = (
    Linear,
    TokensToServerHeld,
    OwnTokens,
    PublicRows,
    CausalProduct,
    CausalMix,
    SumOfPairs,
    ReadPairs,
    Open,
    OpenToClient,
    ToServerHeld,
    Widen,
    MaskAtServer,
    RevealToClient,
    SumOfSquares,
    Square,
    Product,
    IsNegative,
    TruncateExactly,
    CoarseMaximum,
    Activation,
    GatedActivation,
    LineActivation,
    GatedLineActivation,
    TanhLookup,
    TanhOnLines,
    Exponential,
    SplitExponential,
    RangeReduction,
)
"""The gates that have a sample, in their order."""


def gate_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """What every gate costs on the formats of plan `fss`; `config` is folded."""
    formats = formats_of(config, tokens, PLANS["fss"])
    return [_entry(*sample) for group in _GROUPS for sample in group(formats)]


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
