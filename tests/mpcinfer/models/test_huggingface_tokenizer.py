"""Tokenizers of Hugging Face folders, against `transformers` reading the same folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from parties.errors import ConfigError
from tests.mpcinfer.models.tokenizer_folders import (
    SPECIAL,
    bert_folder,
    byte_level,
    declared,
    json_folder,
    llama3_json,
    merges_folder,
    model_folder,
)

TEXTS = [
    "",
    " ",
    "The cat sat on the mat.",
    "def f(x):\n\treturn x ** 2  # comment\n\n\n",
    "don't we'll I'M 12345 3.14 1,000",
    "naïve café ½ ² ٣ 日本語 🙂👩‍👩‍👧 \u200b \x00",
    "a</s>b <s>c",
    "   leading and trailing   ",
]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}\n"
    "    {% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}\n"
    "{{ '<' + message['role'] + '> ' + message['content'] | trim + eos_token }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)
MESSAGES = [
    {"role": "user", "content": " What is 2 + 2? "},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "Sure?"},
]


def trained(kind: str) -> tokenizers.Tokenizer:
    """A small tokenizer in the form of GPT-2's (byte level) or Llama 2's (metaspace with byte fallback)."""
    if kind == "gpt2":
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        special = ["<s>", "</s>"]
    else:
        backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        alphabet = []
        special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return backend


def with_bos(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    token = backend.token_to_id("<s>")
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", token)])
    return backend


def save(folder: Path, backend: tokenizers.Tokenizer, **settings: Any) -> None:
    backend.save(str(folder / "tokenizer.json"))
    fields = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        **settings,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("kind", ["gpt2", "llama2"])
@pytest.mark.parametrize("bos", [True, False])
def test_ids_and_text_equal_transformers(kind: str, bos: bool, tmp_path: Path) -> None:
    backend = trained(kind)
    save(tmp_path, with_bos(backend) if bos else backend)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    ours = load_huggingface_tokenizer(tmp_path)
    assert ours.prefix == ((backend.token_to_id("<s>"),) if bos else ())
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs(text).input_ids, text
        assert ours.decode(ids) == theirs.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("place", ["config", "file", "named"])
def test_chats_equal_transformers(bos: bool, place: str, tmp_path: Path) -> None:
    backend = trained("gpt2")
    settings: dict[str, Any] = {"config": {"chat_template": TEMPLATE}, "file": {}}.get(
        place,
        {"chat_template": [{"name": "tool", "template": "x"}, {"name": "default", "template": TEMPLATE}]},
    )
    save(tmp_path, with_bos(backend) if bos else backend, **settings)
    if place == "file":
        (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    expected = theirs.apply_chat_template(
        MESSAGES, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    ours = load_huggingface_tokenizer(tmp_path)
    assert ours.encode(ours.chat(MESSAGES)) == expected
    with pytest.raises(ConfigError, match="no system"):
        ours.chat([{"role": "system", "content": "x"}])


def test_vocabulary_and_merges_of_old_gpt2_folders(tmp_path: Path) -> None:
    backend = trained("gpt2")
    backend.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    ours = load_huggingface_tokenizer(tmp_path)
    for text in TEXTS[:-2]:
        assert ours.encode(text) == backend.encode(text).ids, text
        assert ours.decode(ours.encode(text)) == text


def test_stored_truncation_and_padding_do_not_apply(tmp_path: Path) -> None:
    backend = trained("gpt2")
    backend.enable_truncation(4)
    backend.enable_padding(length=8)
    save(tmp_path, backend)
    ours = load_huggingface_tokenizer(tmp_path)
    assert ours.decode(ours.encode("The cat sat on the mat.")) == "The cat sat on the mat."


@pytest.mark.parametrize("flag", [True, False])
def test_the_post_processor_of_the_file_counts_as_in_transformers(flag: bool, tmp_path: Path) -> None:
    backend = trained("gpt2")
    save(tmp_path, backend if flag else with_bos(backend), add_bos_token=flag)
    ours = load_huggingface_tokenizer(tmp_path)
    assert ours.prefix == (() if flag else (backend.token_to_id("<s>"),))
    assert ours.encode("a") == transformers.AutoTokenizer.from_pretrained(str(tmp_path))("a").input_ids


def test_stop_ids_come_from_the_generation_config_first(tmp_path: Path) -> None:
    save(tmp_path, trained("gpt2"))
    assert load_huggingface_tokenizer(tmp_path).stop == frozenset()
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    assert load_huggingface_tokenizer(tmp_path).stop == {7}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 5]}')
    assert load_huggingface_tokenizer(tmp_path).stop == {1, 5}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(ConfigError, match="eos_token_id"):
        load_huggingface_tokenizer(tmp_path)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        load_huggingface_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        load_huggingface_tokenizer(tmp_path)

    save(tmp_path, trained("gpt2"), chat_template=5)
    with pytest.raises(ConfigError, match="chat_template"):
        load_huggingface_tokenizer(tmp_path)


def test_the_pattern_and_added_tokens_follow_from_the_class(tmp_path: Path) -> None:
    ours = load_huggingface_tokenizer(merges_folder(tmp_path, "qwen2", "Qwen2Tokenizer"))
    assert len(ours.encode("123")) == 3
    vocabulary, _ = byte_level()
    assert ours.encode("<|im_start|>") == [len(vocabulary) + SPECIAL.index("<|im_start|>")]
    assert ours.decode(ours.encode("a<|im_start|>")) == "a"
    by_model = load_huggingface_tokenizer(merges_folder(tmp_path, "qwen2", "PreTrainedTokenizerFast"))
    assert len(by_model.encode("123")) == 3


def test_sentencepiece_of_llama_has_bos_where_the_folder_does_not_say(tmp_path: Path) -> None:
    """As the class documents it; `transformers` 5.24 puts none."""
    folder = model_folder(tmp_path, "llama", "bpe", "LlamaTokenizer")
    assert load_huggingface_tokenizer(folder).prefix == (1,)
    folder = model_folder(tmp_path, "llama", "bpe", "LlamaTokenizer", add_bos_token=False)
    assert load_huggingface_tokenizer(folder).prefix == ()


def test_placeholders_take_the_names_that_the_folder_declares(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "phi3", "gemma", added_tokens_decoder=declared(4, "<|end|>"))
    ours = load_huggingface_tokenizer(folder)
    assert ours.backend.token_to_id("<|end|>") == 4
    assert ours.encode("<|end|>")[-1] == 4


@pytest.mark.parametrize(("rows", "whole"), [(909, True), (908, False)])
def test_special_tokens_get_an_id_where_the_model_has_a_row(rows: int, whole: bool, tmp_path: Path) -> None:
    folder = json_folder(tmp_path, llama3_json, pad_token="<new>")
    ours = load_huggingface_tokenizer(folder, vocabulary=rows)
    assert (ours.encode("<new>")[1:] == [908]) is whole


def test_special_tokens_of_lists_and_objects(tmp_path: Path) -> None:
    extra = {
        "additional_special_tokens": ["<a>", {"content": "<b>"}],
        "extra_special_tokens": {"c_token": "<c>"},
    }
    ours = load_huggingface_tokenizer(json_folder(tmp_path, llama3_json, **extra))
    assert [len(ours.encode(text)) for text in ("<a>", "<b>", "<c>")] == [2, 2, 2]
    assert ours.special["c_token"] == "<c>"
    assert ours.decode(ours.encode("x<a><b><c>")) == "x"


def write_file(name: str, content: bytes | str) -> Callable[[Path], object]:
    """Overwrites a file of a folder."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda at: (at / "merges.txt").unlink(), r"nor merges\.txt, which GPT2Tokenizer needs"),
        (write_file("merges.txt", b"a \xff\n"), r"merges\.txt is not UTF-8: byte 2 is 0xff"),
        (write_file("merges.txt", "a b c\n"), "a merge is two tokens"),
        (write_file("vocab.json", '{"a": "b"}'), r"vocab\.json: a is 'b': expected a token id"),
        (write_file("vocab.json", "[]"), "expected a JSON object"),
        (
            write_file("tokenizer_config.json", '{"tokenizer_class": "MarianTokenizer"}'),
            "MarianTokenizer.* known are",
        ),
        (write_file("tokenizer_config.json", '{"added_tokens_decoder": {"x": "a"}}'), "'x' is no token id"),
        (
            write_file("tokenizer_config.json", '{"added_tokens_decoder": {"5": 3}}'),
            "expected a text, or an object",
        ),
        (
            write_file("tokenizer_config.json", '{"added_tokens_decoder": {"5000": "<a>"}}'),
            "'<a>' is to have id 5000",
        ),
        (write_file("tokenizer_config.json", '{"bos_token": 3}'), "bos_token is 3"),
        (
            write_file("tokenizer_config.json", '{"additional_special_tokens": "a"}'),
            "expected a list of tokens",
        ),
        (write_file("tokenizer_config.json", '{"add_bos_token": "yes"}'), "add_bos_token is 'yes'"),
        (write_file("tokenizer_config.json", '{"chat_template": [{"name": "a"}]}'), "chat_template"),
    ],
)
def test_vocabulary_files_that_do_not_fit_are_refused(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = merges_folder(tmp_path, "gpt2", "GPT2Tokenizer")
    change(folder)
    with pytest.raises(ConfigError, match=message):
        load_huggingface_tokenizer(folder)


def test_a_kind_of_model_without_a_known_class_is_refused(tmp_path: Path) -> None:
    folder = merges_folder(tmp_path, "marian", "PreTrainedTokenizerFast")
    with pytest.raises(ConfigError, match=r"model_type 'marian' is not known; .*save_pretrained"):
        load_huggingface_tokenizer(folder)


def test_a_wordpiece_vocabulary_has_its_unknown_token(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path, unk_token="<none>")
    with pytest.raises(ConfigError, match="no unknown token '<none>'"):
        load_huggingface_tokenizer(folder)
