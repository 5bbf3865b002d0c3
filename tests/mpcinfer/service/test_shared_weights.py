"""Weights shared by all sessions of a server: bit by bit those that a session would make itself."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest
import torch

from mpcinfer.models.batch import Batch
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import run_prefix
from mpcinfer.models.public import PublicModel
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.service.sealed_memory import SealedMemory, sealed
from mpcinfer.service.shared_tensors import ALIGNMENT, read, write
from mpcinfer.service.shared_weights import SharedWeights
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.connect import encoded_weights
from mpcinfer.suites.fss.encoded_ahead import found_ahead
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan, suite_of
from mpcinfer.suites.shareable import Shareable
from parties.documents import from_bytes, to_bytes
from parties.errors import ConfigError, RangeError
from protocols.fss.preprocessing.matrix import Matrix
from protocols.plan import Plan
from tests.deadlines import HANG_S
from tests.mpcinfer.test_encoders import MODELS
from tests.mpcinfer.test_fss_models import LLAMA
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.variant_models import variant_model

FSS = get_plan("fss")
PLANS = {
    "fss": FSS,
    "public table": FSS.replace(embedding="public"),
    "encrypted": FSS.replace(linear="rlwe"),
}
FORMS = {"gpt2": GPT2, "llama": LLAMA, "tied": dataclasses.replace(LLAMA, tied_head=True), **MODELS}


def server_of(model: Model, plan: Plan = FSS, **terms: Any) -> SessionConfig:
    return SessionConfig(plan=plan, public=PublicModel.of(model), weights=model.weights, **terms)


def worker_of(model: Model, plan: Plan = FSS, **terms: Any) -> SessionConfig:
    """Without weights, which it must not need."""
    return SessionConfig(plan=plan, public=PublicModel.of(model), **terms)


def mapped(model: Model, plan: Plan = FSS, **terms: Any) -> SessionConfig:
    with SharedWeights.of(server_of(model, plan, **terms)) as shared:
        return shared.into(worker_of(model, plan, **terms))


def assert_same(got: Matrix | None, expected: Matrix) -> None:
    """All but the rings, which are a session's."""
    assert got is not None, expected.name
    assert (got.shape, got.frac_bits, got.encrypted) == (
        expected.shape,
        expected.frac_bits,
        expected.encrypted,
    )
    assert got.value.dtype == expected.value.dtype
    assert torch.equal(got.value, expected.value)
    assert (got.bias is None) == (expected.bias is None)
    if got.bias is not None and expected.bias is not None:
        assert got.bias.dtype == expected.bias.dtype
        assert torch.equal(got.bias, expected.bias)
    assert (got.public is None) == (expected.public is None)
    if got.public is not None and expected.public is not None:
        assert torch.equal(got.public.value, expected.public.value)


def encoded_of(session_config: SessionConfig) -> Mapping[str, Matrix]:
    assert session_config.encoded is not None
    return session_config.encoded  # type: ignore[return-value]


@pytest.mark.parametrize("plan", list(PLANS))
@pytest.mark.parametrize("form", list(FORMS))
def test_encoded_weights_are_those_of_a_session_bit_by_bit(form: str, plan: str) -> None:
    config = FORMS[form]
    model = random_model(dataclasses.replace(config, layers=1))
    session_config = mapped(model, PLANS[plan])
    expected = encoded_weights(Program.of(PLANS[plan], model.config, model.ranges), model.weights)
    ahead = encoded_of(session_config)
    assert set(expected) <= set(ahead)
    for name, matrix in expected.items():
        assert_same(ahead[name], matrix)
        assert (ahead[name].name, ahead[name].ring_bits) == (name, matrix.ring_bits)
        assert ahead[name].masked == matrix.masked


def test_a_trained_model_is_shared_as_it_is_for_every_likely_session() -> None:
    """Fraction bits of its attention depend on the maximum context: nothing is encoded in a session."""
    model = load_model("tiny-python")
    ahead = encoded_of(mapped(model))
    kinds = set[int]()
    for max_context in (1, 16, 64, 100, 128, 200, 256):
        for batch in (Batch(1), Batch(3, padded=True)):
            program = Program.of(FSS, model.config, model.ranges, max_context, batch=batch)
            for name, matrix in encoded_weights(program, model.weights).items():
                assert_same(found_ahead(ahead, matrix), matrix)
                kinds |= {matrix.frac_bits} if name == "layer0.attn.qkv.weight" else set()
    assert len(kinds) > 1, "the test shows something only where they differ"


def test_a_second_evaluation_shares_what_it_has_in_common_with_the_first() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    with SharedWeights.of(server_of(model)) as once:
        alone = once.nbytes
    ahead = encoded_of(mapped(model, check_ranges=True))
    program = Program.of(FSS, model.config, model.ranges, check_ranges=True)
    for matrix in encoded_weights(program, model.weights).values():
        assert_same(found_ahead(ahead, matrix), matrix)
    with SharedWeights.of(server_of(model, check_ranges=True)) as twice:
        assert twice.nbytes < 1.5 * alone


@pytest.mark.parametrize("name", ["power2", "SM+ScFuFFN", "SM(t)+ScFuFFN"])
def test_variants_of_models_are_shared_too(name: str) -> None:
    model = variant_model(name)
    ahead = encoded_of(mapped(model))
    for matrix in encoded_weights(Program.of(FSS, model.config, model.ranges), model.weights).values():
        assert_same(found_ahead(ahead, matrix), matrix)


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_a_public_prefix_is_run_by_the_front_alone(plan: str) -> None:
    model, ids = random_model(dataclasses.replace(GPT2, layers=1)), (3, 1, 4)
    run, chosen = run_prefix(model.config, model.weights, ids, model.ranges), get_plan(plan)
    terms: dict[str, Any] = {"public_prefix": PublicPrefix("", ids)}
    with SharedWeights.of(server_of(model, chosen, prefix_run=lambda: run, **terms)) as shared:
        session_config = shared.into(worker_of(model, chosen, **terms))
        with pytest.raises(ConfigError, match="weights are shared for"):
            shared.into(worker_of(model, chosen))
    if plan == "crypten":
        assert session_config.prefix_run is not None
        got = session_config.prefix_run()
        assert torch.equal(got.keys[0], run.keys[0])
        assert torch.equal(got.values[0], run.values[0])
        return
    program = Program.of(chosen, model.config, model.ranges, public_prefix=len(ids))
    for name, matrix in encoded_weights(program, model.weights, lambda: run).items():
        assert_same(encoded_of(session_config)[name], matrix)
    assert "prefix.layer0.keys" in encoded_of(session_config)


@pytest.mark.parametrize("plan", ["crypten", "two-party"])
def test_other_suites_share_float_weights_in_sixteen_bits_where_that_is_exact(plan: str) -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    half = {name: each.to(torch.bfloat16).float() for name, each in model.weights.items()}
    exact = half | {"embed.tokens": model.weights["embed.tokens"]}
    model = dataclasses.replace(model, weights=exact)
    with SharedWeights.of(server_of(model, get_plan(plan))) as shared:
        kinds = {name: each.dtype for name, each in shared.tensors.items()}
        session_config = shared.into(worker_of(model, get_plan(plan)))
    assert kinds.pop("embed.tokens") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    assert session_config.weights is not None
    assert list(session_config.weights) == list(exact)
    for name, weight in session_config.weights.items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, exact[name])


def test_a_worker_has_no_float_weights_but_knows_where_they_are() -> None:
    model = load_model("tiny-python")
    session_config = mapped(model)
    ready = suite_of(FSS).ready(session_config)
    assert ready.weights is None
    assert ready.encoded is session_config.encoded
    assert ready.load_weights is not None
    assert torch.equal(ready.load_weights()["embed.tokens"], model.weights["embed.tokens"])


def test_what_is_shared_for_something_else_is_refused() -> None:
    model, other = (random_model(dataclasses.replace(GPT2, layers=1), seed) for seed in (1, 2))
    with SharedWeights.of(server_of(model)) as shared:
        for wrong in (
            worker_of(other),
            worker_of(model, get_plan("fss-faithful")),
            worker_of(model, get_plan("crypten")),
            worker_of(model, check_ranges=True),
        ):
            with pytest.raises(ConfigError, match=r"weights are shared for plan fss .*, expected plan"):
                shared.into(wrong)
    for plan in ("fss", "crypten"):
        with pytest.raises(ConfigError, match="this configuration is a client's"):
            SharedWeights.of(worker_of(model, get_plan(plan)))


def test_weights_that_do_not_fit_are_refused_by_the_front() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    huge = {**model.weights, "layer0.ffn.in.weight": 1e9 * model.weights["layer0.ffn.in.weight"]}
    with pytest.raises(RangeError, match=r"layer0\.ffn\.in\.weight"):
        SharedWeights.of(server_of(dataclasses.replace(model, weights=huge)))


def test_descriptors_are_closed_and_what_was_made_goes_on() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    before = len(os.listdir("/proc/self/fd"))
    shared = SharedWeights.of(server_of(model))
    assert not os.get_inheritable(shared.fd)
    session_config = shared.into(worker_of(model))
    shared.close()
    shared.close()
    del shared
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before + 1, "Python's mmap has a descriptor of its own"
    assert int(encoded_of(session_config)["embed.tokens"].value.to(torch.int64).abs().sum()) > 0
    del session_config
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_front_that_fails_leaves_no_descriptor() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError):
        SharedWeights.of(worker_of(model))
    with pytest.raises(ConfigError, match="is not shared, only"):
        write("test", "a test", Shareable({}, {"flags": torch.zeros(1, dtype=torch.bool)}))
    with pytest.raises(ArithmeticError):
        sealed("test", _failing())
    assert len(os.listdir("/proc/self/fd")) == before


def _failing() -> Generator[memoryview]:
    yield memoryview(b"one")
    raise ArithmeticError


# -- damage --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> bytes:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    with SharedWeights.of(server_of(model)) as shared:
        return os.pread(shared.fd, shared.nbytes, 0)


def _opened(content: bytes) -> SharedWeights:
    descriptor = sealed("test", [memoryview(content)])
    try:
        return SharedWeights.open(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def with_header(whole: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """With another header, whose digest is right."""
    length = int.from_bytes(whole[8:16], "little")
    end = -(-(ALIGNMENT + length) // ALIGNMENT) * ALIGNMENT
    header = from_bytes(whole[ALIGNMENT : ALIGNMENT + length], 1 << 20)
    assert isinstance(header, dict)
    change(header)
    raw = to_bytes(header)
    start = whole[:8] + len(raw).to_bytes(8, "little") + hashlib.sha256(raw).digest()
    filled = raw.ljust(-(-len(raw) // ALIGNMENT) * ALIGNMENT, b"\0")
    return start.ljust(ALIGNMENT, b"\0") + filled + whole[end:]


def test_one_that_nobody_damaged_is_read(whole: bytes) -> None:
    """The control of those that are damaged."""
    for content in (whole, with_header(whole, lambda header: None)):
        with _opened(content) as shared:
            assert shared.nbytes == len(whole)
            assert len(shared.digest) == 64


def _place(header: dict[str, Any], at: int, value: object) -> None:
    header["tensors"][-1][at] = value


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "short": (lambda b: b[:10], "at the start"),
    "not ours": (lambda b: b"x" + b[1:], "at the start"),
    "a header beyond the end": (lambda b: b[:8] + b"\xff" * 8 + b[16:], "a header of"),
    "a bit of the header": (lambda b: b[:80] + bytes([b[80] ^ 1]) + b[81:], "header is damaged"),
    "cut off": (lambda b: b[:-ALIGNMENT], "bytes, got"),
    "longer": (lambda b: b + bytes(ALIGNMENT), "bytes, got"),
    "of another version": (lambda b: with_header(b, lambda h: h.update(version=2)), "expected version 1"),
    "no version": (lambda b: with_header(b, lambda h: h.pop("version")), "the header is none"),
    "no tensors": (lambda b: with_header(b, lambda h: h.update(tensors=7)), "the header is none"),
    "beyond the end": (lambda b: with_header(b, lambda h: _place(h, 3, 1 << 40)), "lies from"),
    "before the start": (lambda b: with_header(b, lambda h: _place(h, 3, -64)), "lies from"),
    "between two places": (lambda b: with_header(b, lambda h: _place(h, 3, 8)), "a multiple of 64"),
    "a shape beyond the end": (lambda b: with_header(b, lambda h: _place(h, 2, [1 << 40])), "lies from"),
    "a negative shape": (lambda b: with_header(b, lambda h: _place(h, 2, [-1])), "has shape"),
    "a fraction of a shape": (lambda b: with_header(b, lambda h: _place(h, 2, [1.5])), "has shape"),
    "an unknown type": (lambda b: with_header(b, lambda h: _place(h, 1, "int8")), "has type 'int8'"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_is_an_error_that_says_where(whole: bytes, damage: str) -> None:
    spoil, message = DAMAGE[damage]
    with pytest.raises(ConfigError, match=message):
        _opened(spoil(whole))


@pytest.mark.parametrize("plan", ["fss", "crypten", "two-party"])
def test_a_document_of_another_suite_is_refused(plan: str) -> None:
    """What the front would never write."""
    model = random_model(dataclasses.replace(GPT2, layers=1))
    suite, nothing = suite_of(get_plan(plan)), {"value": torch.zeros(1)}
    for document in ({}, {"matrices": 7, "weights": 7}, {"matrices": {"a": {}}, "weights": {"a": "int8"}}):
        with pytest.raises(ConfigError, match="no description of"):
            suite.with_shared(worker_of(model, get_plan(plan)), Shareable(document, nothing))


def test_what_is_of_no_type_that_is_shared_is_refused() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    integers = {name: each.to(torch.int64) for name, each in model.weights.items()}
    wrong = dataclasses.replace(model, weights=integers)
    with pytest.raises(ConfigError, match="expected float32 or float64, got int64"):
        SharedWeights.of(server_of(wrong, get_plan("crypten")))


# -- processes -----------------------------------------------------------------------------------------------


def _line(process: subprocess.Popen[str], told: str = "") -> str:
    """What a process says, or says to what it is told."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(told)
    process.stdin.flush()
    return process.stdout.readline()


@pytest.mark.e2e
def test_two_processes_have_one_memory() -> None:
    model = load_model("tiny-python")
    with SharedWeights.of(server_of(model)) as shared:
        command = [sys.executable, "-m", "tests.mpcinfer.service.mapped_process", str(shared.fd)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with (
            subprocess.Popen(command, pass_fds=[shared.fd], **pipes) as one,
            subprocess.Popen(command, pass_fds=[shared.fd], **pipes) as other,
        ):
            for process in (one, other):
                assert _line(process) == "read\n"
            said = [json.loads(_line(process, "go\n")) for process in (one, other)]
            for process in (one, other):
                process.communicate(timeout=HANG_S)
        sums = {name: float(each.sum(dtype=torch.float64)) for name, each in shared.tensors.items()}
    for each in said:
        assert (each["digest"], each["sums"]) == (shared.digest, sums)
        memory = each["memory"]
        assert memory["private"] == memory["written"] == 0
        assert memory["shared"] == memory["resident"] >= shared.nbytes
    total = sum(each["memory"]["proportional"] for each in said)
    assert total <= said[0]["memory"]["resident"] + 4096


def test_reading_says_what_it_is_for() -> None:
    model = random_model(dataclasses.replace(GPT2, layers=1))
    with SharedWeights.of(server_of(model)) as shared:
        assert PublicModel.of(model).digest() in read(SealedMemory(shared.fd)).purpose
