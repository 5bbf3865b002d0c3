"""Sessions of tiny models, the same secrets under fresh seeds: the strongest relations among all their bits.

It takes many runs, which the type checks that go with all tests would slow down: they are made in a process
of their own, without these checks.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.suites.fss import program
from mpcinfer.suites.fss.precision import Precision
from protocols.plan import Plan
from tests.controls.masks import TWICE
from tests.joint import SPARE_RUNS, Bits, Relation, linear_relation, worst_pair, worst_triple
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_parties import EXACT, PROBABILISTIC, Steps, Whole
from tests.mpcinfer.joint_views import Seen, views
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.variant_models import FOLDED, variant_model

TINY = ModelConfig(layers=2, width=4, heads=1, kv_heads=1, head_width=4, hidden=4, vocabulary=256, context=12)
"""Linear layers have sides of one size: masks can be mistaken for each other."""
FORMS: dict[str, ModelConfig] = {
    "gpt2": TINY,
    "llama": dataclasses.replace(TINY, **LLAMA_FORM),
    "power": dataclasses.replace(TINY, attention="power", attention_offset=True, attention_scaled=True),
}
CHECKED = "gpt2, evaluated twice"
NAMES = (*FORMS, "folded", CHECKED)
PLANS: dict[str, Plan] = {"fss": PROBABILISTIC, "fss-faithful": EXACT}
STEPS: Steps = ([7, 250], [3])
COARSE = Precision(cells=2, exact_cells=2)
"""Keys are made and evaluated the faster; as much is opened as ever."""
SEEDS = range(1, 73)


@dataclass(frozen=True)
class Found:
    """The strongest relations in one party's view.

    Attributes:
        pair: of all bits.
        triple: of the lowest bit of one element of everything that is opened, sent one way or held.
        linear: of the same: a sum that is the same in all runs, of any number of them.
    """

    pair: Relation
    triple: Relation
    linear: tuple[str, ...]


def relations(name: str, plan: str) -> tuple[Found, Found]:
    """What is found in the server's and in the client's view.

    Args:
        name: of a model's form.
    """
    return elsewhere().submit(find_relations, name, plan).result()


def relation_where_masks_are_used(twice: str, name: str, plan: str) -> Relation:
    """The strongest pair in what others show the server, its own masks aside, where masks are used twice.

    Of a session that evaluates passes twice, in what others show the client.

    Args:
        twice: where, one of `TWICE`.
    """
    return elsewhere().submit(find_relation_where_masks_are_used, twice, name, plan).result()


@cache
def elsewhere() -> ProcessPoolExecutor:
    """One process for all of them; it ends with this one."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def find_relations(name: str, plan: str) -> tuple[Found, Found]:
    """See `relations`."""
    with patch.object(program, "require_agreement"):  # tables this coarse explain any difference
        server, client = joint_bits(_whole(name, plan), STEPS, SEEDS)
    return found(server), found(client)


def find_relation_where_masks_are_used(twice: str, name: str, plan: str) -> Relation:
    """See `relation_where_masks_are_used`."""
    with TWICE[twice](), patch.object(program, "require_agreement"):
        server, client = joint_bits(_whole(name, plan), STEPS, SEEDS)
    seen = client if name == CHECKED else server  # masked weights go to the client
    return worst_pair(seen.only(shown(seen)))


def _whole(name: str, plan: str) -> Whole:
    torch.set_num_threads(1)
    layers = 1 if name == CHECKED else 2 if name in ("gpt2", "llama") or plan == "fss" else 1
    form, checked = ("gpt2", True) if name == CHECKED else (name, False)
    whole = Whole.of(_model(form, layers), PLANS[plan], 3, COARSE)
    return whole.checked(COARSE) if checked else whole


def _model(name: str, layers: int) -> Model:
    if name == "folded":
        return variant_model(f"{FOLDED}SM+ScFuFFN", sizes=dataclasses.replace(TINY, layers=layers))
    return random_model(dataclasses.replace(FORMS[name], layers=layers))


def found(bits: Bits) -> Found:
    """The strongest relations among bits of many runs."""
    few = [i for i in shown(bits) if bits.names[i].endswith(" [0] bit 0")]
    few = [i for i in few if not bits.names[i].startswith("dealt")]
    groups = len(few) // (bits.runs - 1 - SPARE_RUNS) + 1
    sums = (linear_relation(bits.only(few[first::groups])) for first in range(groups))
    relation = next((names for names in sums if names), ())
    return Found(worst_pair(bits), worst_triple(bits.only(few)), relation)


def shown(bits: Bits) -> list[int]:
    """Without what the party drew itself, and without what is left of others less that."""
    return [i for i, name in enumerate(bits.names) if "own" not in name.split()]


def joint_bits(whole: Whole, steps: Steps, seeds: Sequence[int]) -> tuple[Bits, Bits]:
    """The server's and the client's view over sessions with fresh seeds and the same secrets."""
    runs = [[_taken(view) for view in views(whole, steps, seed)] for seed in seeds]
    names = [[name for seen in view for name in seen.names()] for view in views(whole, steps, seeds[0])]
    server, client = (
        _without_padding(Bits.of(torch.stack(taken), each))
        for taken, each in zip(zip(*runs, strict=True), names, strict=True)
    )
    return server, client


def _taken(view: Sequence[Seen]) -> torch.Tensor:
    return torch.cat([seen.taken() for seen in view]).to(torch.bool)


def _without_padding(bits: Bits) -> Bits:
    """Without bits from the dealer that are 0 in all runs: those after the last element of what is packed."""
    zero, dealt = (bits.signs == 1.0).all(0), [name.startswith("dealt") for name in bits.names]
    left = [i for i, is_dealt in enumerate(dealt) if not (is_dealt and bool(zero[i]))]
    assert len(dealt) - len(left) < sum(dealt) // 4
    return bits.only(left)
