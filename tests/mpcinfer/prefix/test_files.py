"""Adapters and shares as files, and what is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mpcinfer.models.model import Model
from mpcinfer.models.prefix_formats import LARGEST_READ, sum_frac
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.adapter import READ, PrefixAdapter, model_digest
from mpcinfer.prefix.file import Side, load_adapter, load_part, save_adapter, split_adapter
from mpcinfer.prefix.part import PrefixPart
from parties.errors import ConfigError, RangeError
from parties.randomness import InsecureTestRandom
from tests.mpcinfer.test_fss_models import ONE
from tests.mpcinfer.three_parties import random_model

POWER = dataclasses.replace(ONE, attention="power", power=2, attention_epsilon=1e-3)
SIDES: tuple[Side, Side] = ("client", "server")


def adapter_of(model: Model, features: str = "square") -> PrefixAdapter:
    config, generator = model.config, torch.Generator().manual_seed(1)
    count = config.head_width if features != "pairs" else config.head_width * (config.head_width + 1) // 2
    shape = (1, config.heads, count, config.head_width + 1)
    drawn = [torch.rand(shape, generator=generator).double() for _ in range(config.layers)]
    return PrefixAdapter(
        features=features,  # type: ignore[arg-type]
        sums=tuple(drawn),
        beside=tuple(each[:, :, :1, :1] for each in drawn) if features == "pairs" else (),
        model=model_digest(PublicModel.of(model)),
        made_by="a test",
        measured={READ: 3.0},
    )


@pytest.mark.parametrize(("config", "features"), [(ONE, "square"), (ONE, "elu"), (POWER, "pairs")])
def test_what_is_written_is_read_and_two_shares_add_up_to_it(
    config: object, features: str, tmp_path: Path
) -> None:
    model = random_model(config)  # type: ignore[arg-type]
    public, adapter = PublicModel.of(model), adapter_of(model, features)
    path, halves = tmp_path / "whole", (tmp_path / "client", tmp_path / "server")
    save_adapter(adapter, path)
    read = load_adapter(path)
    assert (read.features, read.model, read.made_by, read.measured) == (
        adapter.features,
        adapter.model,
        adapter.made_by,
        adapter.measured,
    )
    assert all(torch.equal(a, b) for a, b in zip(read.sums, adapter.sums, strict=True))
    split_adapter(adapter, public, halves, InsecureTestRandom(4))
    client, server = (load_part(str(each), public, side) for each, side in zip(halves, SIDES, strict=True))
    whole = load_part(str(path), public, "server")
    for share, side in zip(halves, SIDES[::-1], strict=True):
        with pytest.raises(ConfigError, match=f"is not the {side}'s share"):
            load_part(str(share), public, side)
    assert client.pair == server.pair != whole.pair == ""
    for of in ("sums", "beside"):
        for a, b, both in zip(*(getattr(each, of) for each in (client, server, whole)), strict=True):
            assert torch.equal(a + b, both)
            assert float((a.double() / 2.0**63).abs().mean()) > 0.3  # as uniform words are, unlike the sums
    assert torch.equal(
        whole.sums[0], (adapter.sums[0] * 2.0 ** sum_frac(adapter.features)).round().to(torch.int64)
    )


def test_a_second_split_has_other_shares_and_another_name(tmp_path: Path) -> None:
    model = random_model(ONE)
    public, stream = PublicModel.of(model), InsecureTestRandom(4)
    parts: list[PrefixPart] = []
    for number in range(2):
        halves = (tmp_path / f"client{number}", tmp_path / f"server{number}")
        split_adapter(adapter_of(model), public, halves, stream)
        parts.append(load_part(str(halves[0]), public, "client"))
    assert parts[0].pair != parts[1].pair
    assert parts[0].agreement != parts[1].agreement
    assert not torch.equal(parts[0].sums[0], parts[1].sums[0])


def test_a_name_of_features_is_nothing_of_them() -> None:
    part = load_part("square", PublicModel.of(random_model(ONE)), "client")
    assert (part.features, part.agreement) == ("square", ", prefix square")
    assert not any(bool(each.any()) for each in part.sums)


def test_adapters_for_something_else_are_refused_by_name(tmp_path: Path) -> None:
    model = random_model(ONE)
    public, adapter = PublicModel.of(model), adapter_of(model)
    other = PublicModel.of(random_model(dataclasses.replace(ONE, context=30)))
    with pytest.raises(ConfigError, match="is for a model of digest"):
        adapter.require_for(other)
    with pytest.raises(ConfigError, match="features square are for softmax"):
        adapter.require_for(PublicModel.of(random_model(POWER)))
    with pytest.raises(ConfigError, match="not finite"):
        dataclasses.replace(adapter, sums=(adapter.sums[0] * float("nan"),)).require_for(public)
    with pytest.raises(ConfigError, match="expected \\(1, 2, 8, 9\\)"):
        dataclasses.replace(adapter, sums=(adapter.sums[0][:, :1],)).require_for(public)
    with pytest.raises(ConfigError, match="states of 2 layers"):
        dataclasses.replace(adapter, sums=adapter.sums * 2).require_for(public)
    with pytest.raises(RangeError, match="largest_read"):
        dataclasses.replace(adapter, measured={READ: 2 * LARGEST_READ}).fixed()
    with pytest.raises(RangeError, match="do not hold it"):
        dataclasses.replace(adapter, sums=(adapter.sums[0] * 2.0**60,)).fixed()


def test_files_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    model = random_model(ONE)
    public, path = PublicModel.of(model), tmp_path / "whole"
    save_adapter(adapter_of(model), path)
    with pytest.raises(ConfigError, match="not overwritten"):
        save_adapter(adapter_of(model), path)
    with pytest.raises(ConfigError, match="no such prefix"):
        load_part(str(tmp_path / "absent"), public, "client")
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConfigError, match="not a readable safetensors file"):
        load_part(str(cut), public, "client")
    content = path.read_bytes()
    for old, new, said in (
        (b"mpcinfer.prefix", b"mpcinfer.prefax", "is no prefix of"),
        (b"layer0.sums", b"layer1.sums", "not those of layers from 0"),
    ):
        spoiled = tmp_path / said.replace(" ", "")
        spoiled.write_bytes(content.replace(old, new))
        with pytest.raises(ConfigError, match=said):
            load_part(str(spoiled), public, "client")
    halves = (tmp_path / "client", tmp_path / "server")
    split_adapter(adapter_of(model), public, halves, InsecureTestRandom(1))
    with pytest.raises(ConfigError, match="is one share"):
        load_adapter(halves[0])
    other = PublicModel.of(random_model(dataclasses.replace(ONE, context=30)))
    with pytest.raises(ConfigError, match="for another model"):
        load_part(str(halves[0]), other, "client")


def test_two_shares_are_two_files_and_no_half_is_left_behind(tmp_path: Path) -> None:
    model = random_model(ONE)
    public, adapter = PublicModel.of(model), adapter_of(model)
    there, other = tmp_path / "there", tmp_path / "other"
    there.touch()
    for halves, said in (
        ((other, other), "two shares want two files"),
        ((other, there), "is there already"),
        ((other, tmp_path / "no folder" / "x"), "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=said):
            split_adapter(adapter, public, halves, InsecureTestRandom(1))
        assert not other.exists()
