"""Models from GGUF files, dequantised, with the tokenizer rebuilt from the file."""

from __future__ import annotations

from pathlib import Path

from mpcinfer.models.gguf_architectures import gguf_config, gguf_layout
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.gguf_rope import ROPE_TENSORS
from mpcinfer.models.gguf_tokenizer import gguf_tokenizer
from mpcinfer.models.layout import read_weights
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.stored_ranges import ranges_beside


def load_gguf(path: Path, *, name: str | None = None) -> Model:
    """A model from a GGUF file, with the ranges of `NAME.ranges.json` beside it if they are there.

    Args:
        path: a file of a known architecture.
        name: what to call the model; the path where it is left out.

    Raises:
        ConfigError: another architecture, a form of RoPE or a tokenizer that we do not have, a broken file.
    """
    file = GgufFile(path)
    public = _public(file, name)
    layout = gguf_layout(file, public.config)
    return Model(
        name=public.name,
        config=public.config,
        weights=read_weights(public.config, layout, file, ignored=ROPE_TENSORS),
        tokenizer=public.tokenizer,
        ranges=public.ranges,
    )


def load_public_gguf(path: Path, *, name: str | None = None) -> PublicModel:
    """Everything but the weights, which are not read. Arguments and errors as `load_gguf`."""
    return _public(GgufFile(path), name)


def _public(file: GgufFile, name: str | None) -> PublicModel:
    return PublicModel(
        name=name or str(file.path),
        config=gguf_config(file),
        tokenizer=gguf_tokenizer(file),
        ranges=ranges_beside(file.path),
    )
