"""The fixed-point backend against floats, within derived bounds, and against itself, bit by bit."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import AttentionForm, ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.rope import Rope
from parties.errors import ConfigError, RangeError
from protocols.fixed_point import LIMIT, decode, encode
from tests.mpcinfer.backends.error_bounds import ErrorBoundBackend, check_every_operation
from tests.mpcinfer.forms import LLAMA_FORM

GPT2 = ModelConfig(
    layers=2, width=24, heads=3, kv_heads=3, head_width=8, hidden=48, vocabulary=40, context=48
)
LLAMA = ModelConfig(
    layers=2,
    width=24,
    heads=4,
    kv_heads=2,
    head_width=6,
    hidden=40,
    vocabulary=40,
    context=48,
    **LLAMA_FORM,
)


def variant(config: ModelConfig, **fields: object) -> ModelConfig:
    return ModelConfig.from_json(config.to_json() | fields)


CONFIGS = {
    "gpt2": GPT2,
    "gpt2-gelu": variant(GPT2, activation="gelu", tied_head=False),
    "gpt2-relu": variant(GPT2, activation="relu"),
    "gpt2-identity-rms": variant(GPT2, activation="identity", norm="rmsnorm"),
    "gpt2-folded": variant(GPT2, norm_affine=False),
    "llama-folded": variant(LLAMA, norm_affine=False),
    "llama-halves": LLAMA,
    "llama-adjacent": variant(LLAMA, rope_pairs="adjacent", tied_head=False),
    "power4": variant(GPT2, attention="power", power=4, attention_offset=True, attention_epsilon=0.1),
    "power2-scaled": variant(LLAMA, attention="power", power=2, attention_scaled=True),
    "2quad": variant(GPT2, attention="power", power=2, attention_shift=5.0),
    "relu-attention": variant(GPT2, attention="relu", temperature="position"),
}


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a stable model: residuals near 1, small matrices, norms around 1, all biases used."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        w = torch.randn(shape, generator=generator, dtype=torch.float64)
        if "norm" in name and name.endswith("weight"):
            w = 1 + 0.1 * w
        elif name.endswith("attn.epsilon"):
            w = 0.05 + 0.1 * w.abs()
        elif not name.startswith("embed"):
            w = w * (0.4 / shape[0] ** 0.5)
        weights[name] = w
    return weights


def token_ids(config: ModelConfig, count: int) -> list[int]:
    return [(7 * i * i + 3 * i + 1) % config.vocabulary for i in range(count)]


def fixed_decoder(config: ModelConfig, frac_bits: int = 16) -> Decoder[torch.Tensor, torch.Tensor]:
    backend = FixedBackend(frac_bits)
    return Decoder(backend, config, backend.load(random_weights(config)))


def ring(values: list[float], frac_bits: int = 16) -> torch.Tensor:
    return encode(torch.tensor(values, dtype=torch.float64), frac_bits, "x")


# --- whole models against floats ---


@pytest.mark.parametrize(("layers", "frac_bits"), [(1, 20), (1, 26), (2, 26)])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_within_the_derived_bound_of_float(name: str, layers: int, frac_bits: int) -> None:
    """The bound assumes the worst at every step, so it grows fast with depth; hence few layers, many bits."""
    config, ids = variant(CONFIGS[name], layers=layers), token_ids(CONFIGS[name], 9)
    bounds = ErrorBoundBackend(frac_bits)
    expected = Decoder(bounds, config, random_weights(config)).forward(bounds.tokens(ids, 9), 9)
    decoder = fixed_decoder(config, frac_bits)
    fixed = decoder.forward(decoder.backend.tokens(ids, 9), 9)
    assert bool(((decode(fixed, frac_bits) - expected.value).abs() <= expected.error).all())
    assert expected.error.max() < 0.1 * expected.value.std()  # a bound that says something


@pytest.mark.parametrize("wrong", ["activation", "scale", "mask"])
def test_the_bound_rejects_a_wrong_operation(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, ids = variant(GPT2, layers=1), token_ids(GPT2, 9)
    bounds = ErrorBoundBackend(26)
    expected = Decoder(bounds, config, random_weights(config)).forward(bounds.tokens(ids, 9), 9)
    decoder = fixed_decoder(config, 26)
    right = FixedBackend(26)
    controls = {
        "activation": ("activation", lambda x, kind: right.activation(x, "relu")),
        "scale": ("scale", lambda x, factor: right.scale(x, factor * 1.05)),
        "mask": ("attention_weights", lambda s, start, form, _: right.attention_weights(s, start + 1, form)),
    }
    monkeypatch.setattr(decoder.backend, *controls[wrong])
    fixed = decoder.forward(decoder.backend.tokens(ids, 9), 9)
    assert bool(((decode(fixed, 26) - expected.value).abs() > expected.error).any())


@pytest.mark.parametrize("frac_bits", [12, 16, 22])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_operation_of_a_forward_is_within_its_own_bound(name: str, frac_bits: int) -> None:
    decoder = fixed_decoder(CONFIGS[name], frac_bits)
    checked = check_every_operation(decoder.backend)
    decoder.forward(decoder.backend.tokens(token_ids(CONFIGS[name], 9), 9), 9, cache=KVCache())
    assert checked["linear"] == 8
    assert checked["attention_weights"] == 2
    assert checked["norm"] == 5


def test_the_operation_check_rejects_a_result_two_units_off(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, right = fixed_decoder(GPT2), FixedBackend(16)
    monkeypatch.setattr(decoder.backend, "add", lambda a, b: right.add(a, b) + 2)
    check_every_operation(decoder.backend)
    with pytest.raises(AssertionError, match="add is off by 2 units"):
        decoder.forward(decoder.backend.tokens([1, 2, 3], 3), 3)


# --- bit by bit ---


@pytest.mark.parametrize("name", CONFIGS)
@given(cuts=st.lists(st.integers(1, 18), max_size=4))
@settings(deadline=None, max_examples=6)
@example(cuts=list(range(1, 19)))
def test_decoding_with_a_cache_is_the_full_forward_bit_by_bit(name: str, cuts: list[int]) -> None:
    config, count = CONFIGS[name], 19
    ids = token_ids(config, count)
    decoder = fixed_decoder(config)
    full = decoder.forward(decoder.backend.tokens(ids, count), count)
    cache: KVCache[torch.Tensor] = KVCache()
    ends = [*sorted(set(cuts)), count]
    steps: list[torch.Tensor] = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        tokens = decoder.backend.tokens(ids[start:end], end - start)
        steps.append(decoder.forward(tokens, end - start, cache=cache))
    assert torch.equal(torch.cat(steps, dim=-2), full)


def test_last_only_is_the_last_row_of_the_full_forward() -> None:
    decoder, ids = fixed_decoder(LLAMA), token_ids(LLAMA, 5)
    full = decoder.forward(decoder.backend.tokens(ids, 5), 5)
    last = decoder.forward(decoder.backend.tokens(ids, 5), 5, rows=1)
    assert torch.equal(last, full[:, -1:])


# --- operations ---

ENTRY = st.integers(-(2**24), 2**24)
"""Ring elements of up to 256 in magnitude at 16 fraction bits."""


@given(st.lists(st.tuples(ENTRY, ENTRY), min_size=1, max_size=20), ENTRY)
@settings(deadline=None)
def test_linear_is_one_exact_product_and_one_floor(pairs: list[tuple[int, int]], bias: int) -> None:
    x = torch.tensor([[a for a, _ in pairs]])
    weight = torch.tensor([[b] for _, b in pairs])
    floor = sum(a * b for a, b in pairs) // 2**16
    backend = FixedBackend(16)
    assert backend.linear(x, weight, torch.tensor([bias])).item() == floor + bias
    assert backend.linear(x, weight, None).item() == floor
    assert backend.matmul(x, weight).item() == floor
    assert backend.head(x, weight.T, tied=True).item() == floor
    assert backend.head(x, weight, tied=False).item() == floor


@given(st.lists(st.tuples(ENTRY, ENTRY), min_size=1, max_size=8), st.floats(-8, 8))
@settings(deadline=None)
def test_elementwise_products_are_one_exact_product_and_one_floor(
    pairs: list[tuple[int, int]], factor: float
) -> None:
    a, b = torch.tensor([p for p, _ in pairs]), torch.tensor([q for _, q in pairs])
    backend = FixedBackend(16)
    assert backend.mul(a, b).tolist() == [p * q // 2**16 for p, q in pairs]
    rounded = round(Fraction(factor) * 2**16)
    assert backend.scale(a, factor).tolist() == [p * rounded // 2**16 for p, _ in pairs]
    assert backend.add(a, b).tolist() == [p + q for p, q in pairs]


@given(
    st.lists(st.integers(-(2**22), 2**22), min_size=8, max_size=8),
    st.integers(0, 5000),
    st.sampled_from(["halves", "adjacent"]),
)
@settings(deadline=None)
def test_rope_turns_as_in_float(entries: list[int], start: int, pairs: str) -> None:
    assert pairs in {"halves", "adjacent"}
    x = torch.tensor(entries).reshape(1, 1, 1, 8)
    rope = Rope(10000.0, 8, pairs)
    turned = FixedBackend(16).rope(x, start, rope)
    expected = PlainBackend().rope(decode(x, 16), start, rope)
    # Two factors of at most 2^6, each times a cosine off by half a unit, and one unit of truncation.
    bound = 2.0**-16 * (0.5 * 2 * decode(x, 16).abs().max() + 1) + 2.0**-36
    assert bool(((decode(turned, 16) - expected).abs() <= bound).all())


@given(
    st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=12),
    st.integers(0, 11),
    st.sampled_from([10, 16, 24]),
)
@settings(deadline=None)
def test_softmax_is_the_true_one_rounded(row: list[int], start: int, frac_bits: int) -> None:
    start = min(start, len(row) - 1)
    scores = torch.tensor(row).reshape(1, 1, 1, -1)
    weights = FixedBackend(frac_bits).attention_weights(scores, start, AttentionForm()).flatten()
    seen = decode(scores.flatten()[: start + 1], frac_bits)
    bound = 2.0 ** -(frac_bits + 1) + 2.0**-36
    true = torch.softmax(seen, dim=0)
    assert bool(((decode(weights[: start + 1], frac_bits) - true).abs() <= bound).all())
    assert weights[start + 1 :].tolist() == [0] * (len(row) - start - 1)


@given(
    st.lists(st.integers(-(2**19), 2**19), min_size=1, max_size=8),
    st.integers(0, 7),
    st.sampled_from([2, 4, 6, 8]),
    st.sampled_from([1e-6, 1e-3, 0.1]),
)
@settings(deadline=None)
def test_power_weights_are_the_true_ones_rounded(
    row: list[int], start: int, power: int, epsilon: float
) -> None:
    start = min(start, len(row) - 1)
    scores, form = torch.tensor(row).reshape(1, 1, 1, -1), AttentionForm("power", power, epsilon)
    weights = FixedBackend(16).attention_weights(scores, start, form).flatten().tolist()
    seen = [Fraction(entry, 2**16) for entry in row[: start + 1]]
    divisor = sum(s**power for s in seen) + Fraction(epsilon) * len(seen)
    true = [s**power / divisor for s in seen]
    assert all(abs(w / 2**16 - float(t)) <= 2.0**-17 + 2.0**-36 for w, t in zip(weights, true, strict=False))
    assert weights[start + 1 :] == [0] * (len(row) - start - 1)


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=12), st.integers(0, 11))
@settings(deadline=None)
def test_relu_weights_are_the_true_ones_rounded(row: list[int], start: int) -> None:
    start = min(start, len(row) - 1)
    weights = FixedBackend(16).attention_weights(
        torch.tensor(row).reshape(1, 1, 1, -1), start, AttentionForm("relu")
    )
    true = [round(Fraction(max(entry, 0), start + 1)) for entry in row[: start + 1]]
    assert weights.flatten().tolist() == [*true, *[0] * (len(row) - start - 1)]


def test_softmax_of_the_largest_scores_does_not_wrap() -> None:
    scores = torch.tensor([[[[LIMIT - 1, 1 - LIMIT, LIMIT - 1]]]])
    assert FixedBackend(16).attention_weights(scores, 2, AttentionForm()).flatten().tolist() == [
        2**15,
        0,
        2**15,
    ]


def true_norm(entries: list[int], unit: Fraction, centre: bool, eps: float) -> list[float]:
    """Exact up to one float64 square root a number."""
    x = [entry * unit for entry in entries]
    mean = sum(x) / len(x) if centre else Fraction(0)
    c = [value - mean for value in x]
    power = sum(value * value for value in c) / len(c) + Fraction(eps)
    return [math.copysign(math.sqrt(value * value / power), value) for value in c]


ROWS = st.integers(0, 34).flatmap(
    lambda bits: st.lists(st.integers(-(2**bits), 2**bits), min_size=1, max_size=24)
)


@given(ROWS, st.sampled_from(["layernorm", "rmsnorm"]), st.sampled_from([1e-5, 1e-12]))
@settings(deadline=None, max_examples=200)
@example([24926 * 2**16] + [3] * 23, "rmsnorm", 1e-5)
@example([2**34 + 1, 2**34], "layernorm", 1e-5)
@example([0, 0, 0], "layernorm", 1e-5)
@example([(1 << 61) - 1, 1, -5], "rmsnorm", 1e-5)
def test_norms_are_the_true_ones_rounded(entries: list[int], kind: str, eps: float) -> None:
    assert kind in {"layernorm", "rmsnorm"}
    backend = FixedBackend(16)
    ones = ring([1.0] * len(entries))
    normed = decode(backend.norm(torch.tensor([entries]), ones, None, kind, eps), 16).flatten()
    true = true_norm(entries, Fraction(1, 2**16), kind == "layernorm", eps)
    bound = 2.0**-17 + 2.0**-36  # the weight of exactly 1 adds nothing
    assert max(abs(a - b) for a, b in zip(normed.tolist(), true, strict=True)) <= bound


def test_norm_weight_and_bias_are_applied_in_fixed_point() -> None:
    backend = FixedBackend(16)
    x, weight, bias = ring([3.0, -4.0]), ring([1.7, -0.3]), ring([0.25, -2.0])
    rows = backend.norm(x, ring([1.0, 1.0]), None, "rmsnorm", 1e-5)
    columns = zip(rows.tolist(), weight.tolist(), bias.tolist(), strict=True)
    expected = [row * scale // 2**16 + shift for row, scale, shift in columns]
    assert backend.norm(x, weight, bias, "rmsnorm", 1e-5).tolist() == expected


@given(
    st.lists(st.one_of(st.integers(-(2**20), 2**20), st.integers(-(2**61), 2**61)), min_size=1, max_size=8),
    st.sampled_from(["gelu", "gelu_tanh", "silu", "relu", "identity"]),
)
@settings(deadline=None)
def test_activations_are_the_true_ones_rounded(entries: list[int], kind: str) -> None:
    assert kind in {"gelu", "gelu_tanh", "silu", "relu", "identity"}
    x = torch.tensor(entries)
    result = FixedBackend(16).activation(x, kind)
    if kind == "relu":
        assert result.tolist() == [max(entry, 0) for entry in entries]
    elif kind == "identity":
        assert result.tolist() == entries
    else:
        true = PlainBackend().activation(decode(x, 16), kind)
        bound = 2.0**-17 + 2.0**-36 + decode(x, 16).abs() * 2.0**-50
        assert bool(((decode(result, 16) - true).abs() <= bound).all())


# --- ranges ---


def test_a_weight_out_of_range_is_named() -> None:
    weights = random_weights(GPT2)
    weights["layer1.ffn.in.weight"][3, 5] = -(2.0**46)
    with pytest.raises(RangeError, match=r"weight layer1\.ffn\.in\.weight: largest magnitude 7\.03687e\+13"):
        FixedBackend(16).load(weights)


@pytest.mark.parametrize(
    ("config", "blown_up", "factor", "named"),
    [
        (GPT2, "embed.positions", 2.0**46, r"embedding: positions|weight embed\.positions"),
        (GPT2, "layer0.norm1.weight", 2.0**34, r"layer0\.norm1: layernorm weight"),
        (GPT2, "layer1.attn.qkv.weight", 2.0**20, r"layer1\.attn\.scores: matmul"),
        (GPT2, "layer1.ffn.in.weight", 2.0**33, r"layer1\.ffn\.in: linear"),
        (GPT2, "layer0.ffn.out.weight", 2.0**33, r"layer0\.ffn\.out: linear"),
        (LLAMA, "layer1.ffn.in.weight", 2.0**20, r"layer1\.ffn\.product: mul"),
        (LLAMA, "layer1.attn.out.weight", 2.0**33, r"layer1\.attn\.out: linear"),
        (LLAMA, "head.norm.weight", 2.0**26, r"head\.logits: head"),
    ],
)
def test_an_overflow_is_named(config: ModelConfig, blown_up: str, factor: float, named: str) -> None:
    weights = random_weights(config)
    weights[blown_up] = weights[blown_up] * factor
    backend = FixedBackend(16)
    with pytest.raises(RangeError, match=named):
        Decoder(backend, config, backend.load(weights)).forward(backend.tokens([1, 2, 3, 4], 4), 4)
    with pytest.raises(RangeError, match="outside any span: mul"):  # the error has left its spans
        backend.mul(torch.tensor([LIMIT - 1]), torch.tensor([LIMIT - 1]))


def test_sums_at_the_edge_of_the_ring_are_named() -> None:
    backend = FixedBackend(16)
    edge = torch.full((1, 1, 4), LIMIT - 1)
    with backend.span("layer7"), backend.span("here"):
        with pytest.raises(RangeError, match=r"layer7\.here: add"):
            backend.add(edge, edge)
        with pytest.raises(RangeError, match=r"layer7\.here: positions"):
            backend.add_positions(edge, torch.full((1, 4), 1), 0)
        with pytest.raises(RangeError, match=r"layer7\.here: bias"):
            backend.linear(torch.zeros(1, 4).long(), torch.zeros(4, 1).long(), torch.tensor([LIMIT]))
        with pytest.raises(RangeError, match=r"layer7\.here: rope"):
            backend.rope(edge[None], 1, Rope(10000.0, 4))
        with pytest.raises(RangeError, match=r"layer7\.here: scale"):
            backend.scale(edge, 0.5)
        with pytest.raises(RangeError, match=r"layer7\.here: layernorm \(entries times 2 \* 4\)"):
            backend.norm(edge, ring([1.0] * 4), None, "layernorm", 1e-5)


def test_rows_too_long_to_sum_exactly_are_refused() -> None:
    backend = FixedBackend(16)
    row = torch.zeros(1, 1, 1, 2**14 + 1, dtype=torch.int64)
    with pytest.raises(RangeError, match="softmax over 16385 keys, at most 16384"):
        backend.attention_weights(row, 2**14, AttentionForm())
    with pytest.raises(RangeError, match="norm over 16385 entries, at most 16384"):
        backend.norm(row, row[0, 0, 0], None, "rmsnorm", 1e-5)


def test_fraction_bits_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="got 40"):
        FixedBackend(40)


def test_open_logits_decodes() -> None:
    assert FixedBackend(16).open_logits(torch.tensor([-(2**15), 3])).tolist() == [-0.5, 3 * 2.0**-16]
