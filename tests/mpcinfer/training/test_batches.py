"""Token streams and the windows of each step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpcinfer.training.batches import Batches, consecutive_batches, encode_documents
from mpcinfer.training.bpe import END_OF_TEXT, train_tokenizer
from mpcinfer.training.data import Document
from parties.errors import ConfigError

STREAM = np.arange(1000, dtype=np.uint16)


def batches(seed: int = 0) -> Batches:
    return Batches(tokens=STREAM, batch=4, context=10, seed=seed)


def test_documents_are_joined_by_the_separator() -> None:
    tokenizer = train_tokenizer(["ab cd\n"], 257)
    separator = tokenizer.encode(END_OF_TEXT)[0]
    stream = encode_documents([Document.of("ab"), Document.of("cd")], tokenizer, separator)
    assert stream.tolist() == [*tokenizer.encode("ab"), separator, *tokenizer.encode("cd"), separator]


def test_targets_are_the_next_tokens() -> None:
    inputs, targets = batches().at(3)
    assert inputs.shape == targets.shape == (4, 10)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs[:, 1:], inputs[:, :-1] + 1)


def test_an_epoch_has_no_window_twice() -> None:
    source = batches()
    starts = torch.cat([source.at(step)[0][:, 0] for step in range(source.steps_per_epoch)])
    assert starts.unique().numel() == 4 * source.steps_per_epoch
    assert (starts % 10).unique().numel() == 1


def test_batches_depend_on_seed_and_step_alone() -> None:
    assert torch.equal(batches().at(50)[0], batches().at(50)[0])
    assert not torch.equal(batches().at(0)[0], batches(seed=1).at(0)[0])
    assert not torch.equal(batches().at(0)[0], batches().at(batches().steps_per_epoch)[0])


def test_too_little_text() -> None:
    with pytest.raises(ConfigError, match="too few"):
        Batches(tokens=STREAM[:40], batch=4, context=10, seed=0)


def test_consecutive_batches_cover_the_stream_once() -> None:
    found = list(consecutive_batches(STREAM[:95], 4, 10, 1000))
    assert [inputs.shape[0] for inputs, _ in found] == [4, 4, 1]
    assert torch.cat([inputs.flatten() for inputs, _ in found]).tolist() == list(range(90))
    assert sum(inputs.shape[0] for inputs, _ in consecutive_batches(STREAM, 4, 10, 7)) == 7


def test_a_short_stream_is_one_short_window() -> None:
    ((inputs, targets),) = consecutive_batches(STREAM[:6], 4, 10, 7)
    assert inputs.tolist() == [[0, 1, 2, 3, 4]]
    assert targets.tolist() == [[1, 2, 3, 4, 5]]
