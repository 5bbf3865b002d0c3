"""The text that a model's entropies are measured on."""

from __future__ import annotations

from pathlib import Path

from mpcinfer.models.model import Model
from mpcinfer.training.batches import Tokens, encode_documents
from mpcinfer.training.bpe import end_of_text
from mpcinfer.training.corpus import Corpus, read_corpus, stored_corpus
from mpcinfer.training.data import Document, folder_texts, load_split
from mpcinfer.training.options import FOLDER, stored_options
from parties.errors import ConfigError


def is_run(folder: Path) -> bool:
    """Whether a model folder has the training run beside it."""
    return (folder / FOLDER / "run.json").is_file()


def held_out_tokens(model: Model, source: str) -> Tokens:
    """Held-out text as the model's tokens, documents with a separator after each.

    Args:
        model: its tokenizer encodes.
        source: the folder of a run or of a stored corpus, whose held-out side it is; a file, which is taken
            whole; a folder of text or `python`, of which `load_split` holds a part out.

    Raises:
        ConfigError: an unusable source, or stored tokens of another tokenizer.
    """
    corpus = _stored(source)
    if corpus is not None:
        if corpus.tokenizer.backend.to_str() != model.tokenizer.backend.to_str():
            raise ConfigError(f"{source}: its tokens are of another tokenizer than {model.name}'s")
        return corpus.held_out
    path = Path(source)
    documents = (
        [Document.of(text) for text in folder_texts(path)] if path.is_file() else load_split(source).held_out
    )
    if not documents:
        raise ConfigError(f"{source}: no text in it")
    return encode_documents(documents, model.tokenizer, end_of_text(model.tokenizer.backend))


def _stored(source: str) -> Corpus | None:
    """A stored corpus, or that of a run on another's data; None for text."""
    if stored_corpus(source) is not None:
        return read_corpus(source)
    return read_corpus(stored_options(Path(source)).source) if is_run(Path(source)) else None
