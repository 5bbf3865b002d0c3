"""What whole models open on the FSS suite: only for listed reasons, one way where it says so, and uniform."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from functools import cache

import pytest
import torch

from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_formats import PREFIX_FRAC
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.program import Program
from parties.meter import CLIENT, SERVER
from parties.randomness import InsecureTestRandom
from parties.wire import Frame, unpack
from protocols.fss.ring import low
from protocols.plan import Plan
from protocols.tensors import to_tensor
from tests.conformance.fss_views import Seen, chi_square, limit
from tests.mpcinfer.forms import ENCODER_FORM, LLAMA_FORM
from tests.mpcinfer.fss_parties import ALTERNATIVES, EXACT, PROBABILISTIC, PrivateRun, Whole, run_private
from tests.mpcinfer.patterned import patterned
from tests.mpcinfer.three_parties import random_model
from tests.openings import listed, reason

GPT2 = ModelConfig(
    layers=1, width=16, heads=4, kv_heads=4, head_width=4, hidden=24, vocabulary=256, context=12
)
LLAMA = dataclasses.replace(GPT2, **LLAMA_FORM, kv_heads=1)
MODELS = {"gpt2": GPT2, "llama": LLAMA}
POWER = dataclasses.replace(GPT2, attention="power", attention_offset=True, attention_scaled=True)
ATTENTIONS = {"power4": POWER, "relu attention": dataclasses.replace(GPT2, attention="relu")}
"""They open nothing for reasons of their own."""
BATCHES = {
    "padded batch": GPT2,
    "padded batch, windows": dataclasses.replace(LLAMA, windows=(3,)),
    "padded texts": dataclasses.replace(GPT2, **ENCODER_FORM),
}
"""Nor do sequences whose padding the client alone knows."""
METHODS = {
    "patterns": patterned(dataclasses.replace(GPT2, heads=8, kv_heads=8)),
    "states": dataclasses.replace(GPT2, attention="power", power=2, attention_offset=True),
    "prefix": GPT2,
}
"""Nor what else enters rows of attention: patterns of keys, keys that become sums, an adapter's sums."""
SEQUENCES = 8
PADDINGS = ([0] * SEQUENCES, [3, 1, 2, 0, 3, 3, 1, 2])
"""Of four tokens each: none, and some."""
PLANS = {"fss": PROBABILISTIC, "fss-faithful": EXACT, "maximum=tree": ALTERNATIVES["maximum=tree"]}
ALL = [(name, plan) for name in MODELS for plan in PLANS.values()]
ALL += [("llama" if name.startswith("silu") else "gpt2", plan) for name, plan in ALTERNATIVES.items()]
PROMPTS = ([7] * 8, [250, 3, 99, 140, 32, 1, 17, 64])


@cache
def done(name: str, plan: Plan, prompt: int = 0, seed: int = 1) -> PrivateRun:
    model = random_model({**MODELS, **ATTENTIONS, **BATCHES, **METHODS}[name])
    if name == "states":
        of_sums = dataclasses.replace(plan, chunk=1)
        return run_private(Whole.of(model, of_sums, 12), [PROMPTS[prompt], [5], [6], [7]], seed=seed)
    if name == "prefix":
        return run_private(prefixed(model, plan, 9, seed), [PROMPTS[prompt], [5]], seed=seed)
    if name in BATCHES:
        whole = Whole.of(model, plan, 5, batch=Batch(SEQUENCES, padded=True))
        ids = PROMPTS[prompt] * (SEQUENCES // 2)
        steps = [ids, [5] * SEQUENCES] if model.config.causal else [ids]
        return run_private(whole, steps, seed=seed, padding=PADDINGS[prompt])
    return run_private(Whole.of(model, plan, 9), [PROMPTS[prompt], [5]], seed=seed)


def prefixed(model: Model, plan: Plan, max_context: int, seed: int) -> Whole:
    """With a prefix adapter of which each party has a uniform share."""
    config, stream = model.config, InsecureTestRandom(1000 + seed)
    shape = (1, config.heads, config.head_width, config.head_width + 1)
    sums = [torch.full(shape, 3 << PREFIX_FRAC) for _ in range(config.layers)]
    client = [torch.from_numpy(stream.words(shape, 64)) for _ in sums]
    server = [each - mask for each, mask in zip(sums, client, strict=True)]
    program = Program.of(plan, config, model.ranges, max_context, prefix="square")
    parts = [PrefixPart(features="square", sums=each) for each in (server, client)]
    return Whole(model, program, (parts[0], parts[1]))


# -- reasons -------------------------------------------------------------------------------------------------


def reasons(run: PrivateRun, rank: int) -> set[str]:
    return {reason(frame.label, "fss") for frame in run.frames[rank]}


def test_every_opening_is_listed_and_every_line_is_used() -> None:
    runs = [done(name, plan) for name, plan in [*ALL, ("power4", PROBABILISTIC)]]
    seen = {rank: set[str]().union(*(reasons(run, rank) for run in runs)) for rank in (SERVER, CLIENT)}
    lines = listed("fss")
    assert seen[SERVER] | seen[CLIENT] == set(lines)
    one_way = {
        SERVER: {why for why, text in lines.items() if text.startswith("to the client")},
        CLIENT: {why for why, text in lines.items() if text.startswith("to the server")},
    }
    assert seen[SERVER] - seen[CLIENT] == one_way[SERVER]
    assert seen[CLIENT] - seen[SERVER] == one_way[CLIENT]
    assert all(len(text) > 20 for text in lines.values())


def test_the_plan_alone_says_what_is_opened() -> None:
    for name in MODELS:
        opened = {key: reasons(done(name, plan), SERVER) for key, plan in PLANS.items()}
        assert opened["fss-faithful"] - opened["fss"] == {"carry"}
        assert opened["maximum=tree"] - opened["fss"] == {"negative"}
        assert opened["fss"] - opened["maximum=tree"] == {"maximum"}


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
def test_other_attention_opens_less_and_nothing_else(name: str, plan: Plan) -> None:
    for rank in (SERVER, CLIENT):
        usual, other = reasons(done("gpt2", plan), rank), reasons(done(name, plan), rank)
        assert usual - other == {"maximum", "exponential"}
        assert other - usual <= {"widen"}, "and that by how large its numbers are, not by what it is"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
def test_methods_of_attention_open_nothing_that_is_not_listed(name: str, plan: Plan) -> None:
    for rank in (SERVER, CLIENT):
        assert reasons(done(name, plan), rank) <= set(listed("fss"))


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
def test_padding_opens_nothing_for_a_reason_of_its_own(name: str, plan: Plan) -> None:
    for rank in (SERVER, CLIENT):
        assert reasons(done(name, plan), rank) <= set(listed("fss"))
        if name == "padded batch":
            assert reasons(done(name, plan), rank) == reasons(done("gpt2", plan), rank)


@pytest.mark.parametrize("name", [*MODELS, *ATTENTIONS, *BATCHES, *METHODS])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_frames_do_not_depend_on_the_prompt(name: str, plan: Plan) -> None:
    shapes = [
        [[(f.label, f.depth, f.specs) for f in frames] for frames in done(name, plan, prompt).frames]
        for prompt in range(len(PROMPTS))
    ]
    assert shapes[0] == shapes[1]


# -- what is seen --------------------------------------------------------------------------------------------

SEEDS = (1, 2, 3, 4)
"""Fresh masks for every run."""
FEWEST = 512
"""32 samples a cell, of which a mask with half its range makes 0 or 64."""


def arrays(frame: Frame) -> list[torch.Tensor]:
    pairs = zip(frame.payload, frame.specs, strict=True)
    return [to_tensor(unpack(buffer, spec)).flatten() for buffer, spec in pairs]


Key = tuple[str, str, int, int]
"""Who sends it or that both open it, its label, the number of the array in its frame, and its width."""


def seen_in(run: PrivateRun) -> dict[Key, torch.Tensor]:
    """Frames of either party, and sums of both where they exchange."""
    found: dict[Key, list[torch.Tensor]] = defaultdict(list)
    by_label: list[dict[str, list[Frame]]] = [defaultdict(list), defaultdict(list)]
    for rank in (SERVER, CLIENT):
        for frame in run.frames[rank]:
            by_label[rank][frame.label].append(frame)
            for i, (array, spec) in enumerate(zip(arrays(frame), frame.specs, strict=True)):
                found[f"sent by {rank}", frame.label, i, spec.bits].append(array)
    for label, ours in by_label[SERVER].items():
        for mine, other in zip(ours, by_label[CLIENT].get(label, []), strict=False):
            if mine.specs != other.specs:
                continue
            for i, (a, b) in enumerate(zip(arrays(mine), arrays(other), strict=True)):
                bits = mine.specs[i].bits
                found["opened", label, i, bits].append(low(a + b, bits))
    return {key: torch.cat(values) for key, values in found.items()}


@cache
def pooled(name: str, plan: Plan, prompt: int, seeds: tuple[int, ...]) -> dict[Key, Seen]:
    """Over fresh seeds, what there is enough of."""
    runs = [seen_in(done(name, plan, prompt, seed)) for seed in seeds]
    both = {key: torch.cat([run[key] for run in runs]) for key in runs[0]}
    return {
        key: Seen(" ".join(map(str, key)), key[-1], values)
        for key, values in both.items()
        if values.numel() >= FEWEST
    }


def assert_uniform(everything: dict[Key, Seen]) -> None:
    for seen in everything.values():
        for part, values, cells in seen.cells():
            assert chi_square(values, cells) < limit(cells), f"{seen.what} is not uniform in its {part}"


@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
@pytest.mark.parametrize("name", [*MODELS, *ATTENTIONS, *BATCHES, *METHODS])
def test_all_that_a_whole_model_shows_either_party_is_uniform(name: str, prompt: int) -> None:
    everything = pooled(name, PROBABILISTIC, prompt, SEEDS)
    assert_uniform(everything)
    covered = {reason(label, "fss") for _, label, _, _ in everything}
    assert covered == {reason(f.label, "fss") for frames in done(name, PROBABILISTIC).frames for f in frames}


@pytest.mark.parametrize("name", [*MODELS, *ATTENTIONS, *BATCHES, *METHODS])
def test_prompts_cannot_be_told_apart(name: str) -> None:
    first, second = (pooled(name, PROBABILISTIC, prompt, SEEDS) for prompt in range(2))
    assert first.keys() == second.keys()
    for key in first:
        for (part, ours, cells), (_, theirs, _) in zip(first[key].cells(), second[key].cells(), strict=True):
            a, b = (torch.bincount(values, minlength=cells).double() for values in (ours, theirs))
            distance = float(((a - b).square() / (a + b).clamp(min=1)).sum())
            assert distance < limit(cells), f"{first[key].what}: {part}"


def test_a_turned_value_published_whole_is_a_public_function_of_a_uniform_one() -> None:
    """The plan with exact truncation opens to the client RoPE's result before it is truncated: at position 0
    that is 2^10 times what the server had, so that its low bits are zeros whatever the secret is; all other
    bits are uniform."""
    rotation, frames = 10, done("llama", EXACT).frames[SERVER]
    frame = next(f for f in frames if f.label == "layer0.attn/publish")
    for i, turned in enumerate((True, True, False)):  # queries, keys, values
        first_row = to_tensor(unpack(frame.payload[i], frame.specs[i]))[..., 0, :]
        assert (int(low(first_row, rotation).abs().max()) == 0) is turned
