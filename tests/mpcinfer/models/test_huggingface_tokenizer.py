"""Tokenizers of Hugging Face folders, against `transformers` reading the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from parties.errors import ConfigError

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
    assert (ours.bos == backend.token_to_id("<s>")) is bos
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
    ours = load_huggingface_tokenizer(tmp_path)
    for text in TEXTS[:-2]:
        assert ours.encode(text) == backend.encode(text).ids
        assert ours.decode(ours.encode(text)) == text


def test_stored_truncation_and_padding_do_not_apply(tmp_path: Path) -> None:
    backend = trained("gpt2")
    backend.enable_truncation(4)
    backend.enable_padding(length=8)
    save(tmp_path, backend)
    ours = load_huggingface_tokenizer(tmp_path)
    assert ours.decode(ours.encode("The cat sat on the mat.")) == "The cat sat on the mat."


@pytest.mark.parametrize(("flag", "expected"), [(True, "<s>"), (False, None)])
def test_the_configuration_overrides_the_post_processor(
    flag: bool, expected: str | None, tmp_path: Path
) -> None:
    backend = trained("gpt2")
    save(tmp_path, backend if flag else with_bos(backend), add_bos_token=flag)
    bos = load_huggingface_tokenizer(tmp_path).bos
    assert bos == (None if expected is None else backend.token_to_id(expected))


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

    backend = trained("gpt2")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    save(tmp_path, backend)
    assert load_huggingface_tokenizer(tmp_path).suffix == (1,)
    backend.post_processor = processors.TemplateProcessing(single="<s> <s> $A", special_tokens=[("<s>", 0)])
    save(tmp_path, backend)
    with pytest.raises(ConfigError, match="only one token before"):
        load_huggingface_tokenizer(tmp_path)
    save(tmp_path, trained("gpt2"), add_bos_token=True, bos_token="<none>")
    with pytest.raises(ConfigError, match="<none>"):
        load_huggingface_tokenizer(tmp_path)
    save(tmp_path, trained("gpt2"), chat_template=5)
    with pytest.raises(ConfigError, match="chat_template"):
        load_huggingface_tokenizer(tmp_path)
