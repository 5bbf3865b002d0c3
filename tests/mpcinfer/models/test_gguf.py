"""GGUF files, written here as llama.cpp's converter writes them, against `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.gguf import load_gguf
from mpcinfer.models.gguf_architectures import gguf_config
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.gguf_tokenizer import gguf_tokenizer
from mpcinfer.models.model import Model
from parties.errors import ConfigError
from tests.mpcinfer.models.family_cases import randomised

LAYERS, WIDTH, HEADS, KV_HEADS, HIDDEN, CONTEXT = 2, 64, 4, 2, 96, 32
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
MERGES = ["t h", "Ġ th", "Ġth e", "1 2"]
TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<tool>",
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in MERGES),
]
TYPES = [CONTROL, CONTROL, CONTROL, USER_DEFINED, *[NORMAL] * (len(TOKENS) - 4)]
TEMPLATE = "{% for m in messages %}{{ bos_token + m.role + '\n' + m.content + eos_token }}{% endfor %}"

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def permuted(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head interleaved, half and half: what GGUF does to query and key of Llama."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def random_llama(**settings: Any) -> transformers.LlamaForCausalLM:
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        intermediate_size=HIDDEN,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        **settings,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def tensors_of(
    model: torch.nn.Module, tied: bool, *, permutes: bool = True
) -> dict[str, NDArray[np.float32]]:
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        if permutes and "q_proj" in name:
            array = permuted(array, HEADS)
        if permutes and "k_proj" in name:
            array = permuted(array, KV_HEADS)
        for theirs, gguf_name in NAMES.items():
            name = name.replace(theirs, gguf_name)  # noqa: PLW2901
        if not (tied and name == "output.weight"):
            tensors[name] = array
    return tensors


def write(
    path: Path,
    tensors: dict[str, NDArray[np.float32]],
    *,
    quantisation: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    architecture: str = "llama",
    types: list[int] = TYPES,
    pre: str = "smollm",
    kind: str = "gpt2",
    **extra: Any,
) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(500.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types(types)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value in extra.items():
        add = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
        }
        add[type(value)](key.replace("__", "."), value)
    for name, array in tensors.items():
        if array.ndim == 2 and quantisation != gguf.GGMLQuantizationType.F32:
            packed = gguf.quants.quantize(array, quantisation)
            writer.add_tensor(name, packed, raw_dtype=quantisation)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits_of(model: Model, ids: list[int]) -> torch.Tensor:
    backend = PlainBackend()
    return Decoder(backend, model.config, model.weights).forward(backend.tokens(ids, len(ids)), len(ids))[0]


IDS: list[int] = torch.randint(0, len(TOKENS), (20,), generator=torch.Generator().manual_seed(5)).tolist()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("biases", [True, False])
def test_logits_equal_transformers(tied: bool, biases: bool, tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 500.0}
    theirs = random_llama(
        tie_word_embeddings=tied, attention_bias=biases, mlp_bias=biases, rope_parameters=rope
    )
    with torch.no_grad():
        expected = theirs(torch.tensor([IDS])).logits[0]
    model = load_gguf(write(tmp_path / "m.gguf", tensors_of(theirs, tied)))
    assert (model.config.tied_head, model.config.qkv_bias) == (tied, biases)
    assert (model.config.norm_eps, model.config.rope_base) == (1e-5, 500.0)
    # float32 on both sides: dot products of at most 96 terms, logits of order 10 (see test_huggingface).
    assert expected.std() > 1
    assert (logits_of(model, IDS) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_qwen_architectures(kind: str, tmp_path: Path) -> None:
    config, made = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }[kind]
    theirs = made(
        config(
            vocab_size=len(TOKENS),
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            intermediate_size=HIDDEN,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            head_dim=WIDTH // HEADS,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        )
    )
    randomised(theirs, 3)
    with torch.no_grad():
        expected = theirs(torch.tensor([IDS])).logits[0]
    path = write(tmp_path / "m.gguf", tensors_of(theirs, False, permutes=False), architecture=kind)
    model = load_gguf(path)
    assert (model.config.rope_pairs, model.config.qk_norm) == ("halves", kind == "qwen3")
    assert (logits_of(model, IDS) - expected).abs().max() < 1e-4


def test_divisors_of_frequencies(tmp_path: Path) -> None:
    """As converters write them for Llama 3.1: RoPE's factors as a tensor."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    theirs = random_llama(tie_word_embeddings=True, rope_parameters=rope)
    with torch.no_grad():
        expected = theirs(torch.tensor([IDS])).logits[0]
    plain = 500.0 ** (-torch.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS))
    divisors = (plain / theirs.model.rotary_emb.inv_freq).numpy()
    path = write(tmp_path / "m.gguf", {**tensors_of(theirs, True), "rope_freqs.weight": divisors})
    assert (logits_of(load_gguf(path), IDS) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K", "Q8_0"])
def test_blocks_of_k_quants_are_read(kind: str, tmp_path: Path) -> None:
    """Blocks at random; scales are float16 numbers near 1/100, so that nothing is infinite."""
    number = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[number]
    raw = np.random.default_rng(4).integers(0, 256, (3, 512 // block * size), dtype=np.uint8)
    scale = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    places = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (size - 2,), "Q8_0": (0,)}[kind]
    for start in range(0, raw.shape[1], size):
        for place in places:
            raw[:, start + place : start + place + 2] = scale
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("x", raw, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = GgufFile(tmp_path / "m.gguf").read("x").numpy()
    assert read.shape == (3, 512)
    assert np.array_equal(read, gguf.quants.dequantize(raw, number))
    if kind == "Q8_0":  # by hand: a scale, and signed bytes
        by_hand = raw.reshape(3, -1, size)[..., 2:].view(np.int8).reshape(3, 512) * np.float32(
            np.float16(0.01)
        )
        assert np.array_equal(read, by_hand)
    if kind == "Q6_K":  # four bits low, two high, scales of 16 entries
        assert np.abs(read).max() <= 32 * 128 * float(np.float16(0.01))


def test_quantised_tensors_become_the_values_they_stand_for(tmp_path: Path) -> None:
    tensors = tensors_of(random_llama(tie_word_embeddings=True), tied=True)
    file = GgufFile(write(tmp_path / "m.gguf", tensors, quantisation=gguf.GGMLQuantizationType.Q8_0))
    for name, array in tensors.items():
        # Q8_0 keeps 32 entries as integers of 127ths of the largest of them, its scale in float16.
        blocks = array.reshape(-1, 32) if array.ndim == 2 else array.reshape(1, -1)
        step = np.abs(blocks).max(axis=1, keepdims=True) / 127
        allowed = (0.5 + 127 * 2.0**-11 + 1e-3) * step if array.ndim == 2 else np.zeros_like(step)
        error = np.abs(file.read(name).numpy().reshape(blocks.shape) - blocks)
        assert (error <= allowed).all(), name


@pytest.fixture
def tokens_only(tmp_path: Path) -> Path:
    return write(tmp_path / "tokens.gguf", {})


def test_tokenizer_comes_from_the_file(tokens_only: Path) -> None:
    tokenizer = gguf_tokenizer(GgufFile(tokens_only))
    ids = {text: index for index, text in enumerate(TOKENS)}
    assert tokenizer.encode("t the 12<|im_end|>") == [
        ids["t"],
        ids["Ġthe"],
        ids["Ġ"],
        ids["1"],
        ids["2"],
        ids["<|im_end|>"],
    ]
    assert tokenizer.encode("a<tool>b") == [ids["a"], ids["<tool>"], ids["b"]]
    assert tokenizer.decode(tokenizer.encode("a<tool>b<|im_end|>")) == "a<tool>b"
    assert tokenizer.prefix == ()
    assert tokenizer.stop == {0, 2}
    assert tokenizer.chat([{"role": "user", "content": "the"}]) == "<|im_start|>user\nthe<|im_end|>"


def test_gpt2_pre_tokeniser_keeps_digits_together(tmp_path: Path) -> None:
    tokenizer = gguf_tokenizer(GgufFile(write(tmp_path / "m.gguf", {}, pre="gpt-2")))
    assert tokenizer.encode("12") == [TOKENS.index("12")]


def test_bos_is_put_before_a_prompt_only_where_the_file_says_so(tmp_path: Path) -> None:
    file = GgufFile(write(tmp_path / "m.gguf", {}, tokenizer__ggml__add_bos_token=True))
    tokenizer = gguf_tokenizer(file)
    assert tokenizer.encode("t") == [1, TOKENS.index("t")]
    # A template that asks for bos gets it there, and encode adds none.
    chat = tokenizer.chat([{"role": "user", "content": "the"}])
    assert chat == "<|im_start|>user\nthe<|im_end|>"
    assert tokenizer.encode(chat).count(1) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architecture": "falcon"}, "general.architecture"),
        ({"llama__rope__scaling__type": "longrope"}, "llama.rope.scaling.type"),
        ({"llama__expert_count": 4}, "llama.expert_count"),
        ({"llama__logit_scale": 0.5}, "llama.logit_scale"),
        ({"llama__rope__dimension_count": 8}, "llama.rope.dimension_count"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        gguf_config(GgufFile(write(tmp_path / "m.gguf", {}, **change)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "bert"}, "tokenizer.ggml.model is 'bert'"),
        ({"kind": "llama"}, "no field tokenizer.ggml.scores"),
        ({"pre": "deepseek-llm"}, "deepseek-llm"),
        ({"types": [NORMAL]}, "1 types"),
        ({"tokenizer__ggml__add_space_prefix": True}, "add_space_prefix"),
        ({"tokenizer__ggml__eot_token_id": 9999}, "eot_token_id"),
    ],
)
def test_other_tokenizers_are_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        gguf_tokenizer(GgufFile(write(tmp_path / "m.gguf", {}, **change)))


def test_a_neutral_field_is_no_obstacle(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {}, llama__rope__scaling__type="none", llama__expert_count=0)
    assert gguf_config(GgufFile(path)).layers == LAYERS


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tensors = tensors_of(random_llama(), tied=False)
    missing = {name: array for name, array in tensors.items() if name != "blk.1.ffn_up.weight"}
    with pytest.raises(ConfigError, match=r"blk\.1\.ffn_up\.weight"):
        load_gguf(write(tmp_path / "missing.gguf", missing))
    stretched = {**tensors, "rope_freqs.weight": np.ones(7, dtype=np.float32)}
    with pytest.raises(ConfigError, match="8 positive divisors, got 7"):
        load_gguf(write(tmp_path / "stretched.gguf", stretched))
    unread = {**tensors, "blk.0.attn_sinks.weight": np.ones(8, dtype=np.float32)}
    with pytest.raises(ConfigError, match="attn_sinks"):
        load_gguf(write(tmp_path / "unread.gguf", unread))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all, but long enough to look at"])
def test_broken_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"m\.gguf"):
        GgufFile(path)


def test_a_cut_file_is_refused(tokens_only: Path, tmp_path: Path) -> None:
    content = tokens_only.read_bytes()
    for length in range(24, len(content), 997):
        path = tmp_path / "cut.gguf"
        path.write_bytes(content[:length])
        with pytest.raises(ConfigError):
            load_gguf(path)
