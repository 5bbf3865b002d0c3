"""The suite over every backend that computes, and over negative controls that it must reject."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.registry import get_plan
from parties.meter import Meter
from protocols.additive.registry import resolve
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.plan import Plan
from tests.conformance.backend_suite import CHECKS, Open, Rejected, check_all
from tests.controls.backends import CONTROLS
from tests.mpcinfer.three_parties import random_model

GPT2 = ModelConfig(
    layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=64, vocabulary=256, context=12
)
LLAMA = dataclasses.replace(
    GPT2,
    heads=4,
    head_width=8,
    norm="rmsnorm",
    activation="silu",
    ffn="glu",
    positions="rope",
    tied_head=False,
)
POWER = dataclasses.replace(
    GPT2, attention="power", attention_offset=True, attention_scaled=True, temperature="position"
)
CONFIGS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "windows": dataclasses.replace(GPT2, windows=(3, 0)),
    "power4": POWER,
    "2quad": dataclasses.replace(LLAMA, attention="power", power=2, attention_shift=5.0),
    "relu attention": dataclasses.replace(GPT2, attention="relu", attention_offset=True),
}
MODELS = [random_model(config) for config in CONFIGS.values()]


def plain(model: Model) -> Session[Any, Any]:
    return Session(Decoder(PlainBackend(), model.config, model.weights))


def fixed(model: Model) -> Session[Any, Any]:
    backend = FixedBackend()
    return Session(Decoder(backend, model.config, backend.load(model.weights)))


def secure(plan: Plan) -> Open:
    """The secure backend with a plan's protocols, on the cleartext stand-in for an executor."""

    def open_session(model: Model) -> Session[Any, Any]:
        executor = IdealCleartextArithmetic(Meter())
        backend = SecureBackend(executor, resolve(plan), model.config.vocabulary, model.ranges)
        config, weights = fold(model.config, model.weights)
        return Session(Decoder(backend, config, backend.load(config, weights)))

    return open_session


BACKENDS: dict[str, Open] = {
    "plain": plain,
    "fixed": fixed,
    "secure": secure(get_plan("crypten")),
    "secure, fine GELU": secure(get_plan("crypten").replace(gelu="fine")),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("model", MODELS, ids=CONFIGS)
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=list(BACKENDS))
def test_backend(backend: Open, model: Model, check: Callable[[Open, Model], None]) -> None:
    check(backend, model)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.__name__)
def test_a_broken_control_is_rejected(control: type[PlainBackend]) -> None:
    def broken(model: Model) -> Session[Any, Any]:
        return Session(Decoder(control(), model.config, model.weights))

    with pytest.raises(Rejected):
        check_all(broken, MODELS)
