"""What every backend must do, as checks over a way to run a model on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model

Open = Callable[[Model], "Session[Any, Any]"]
"""A fresh session of a model on the backend under test."""

PROMPT = [100, 101, 102, 32, 102, 40, 120]


class Rejected(AssertionError):
    """A backend fails a check."""


def logits(session: Session[Any, Any], steps: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits [V] after the last of several steps."""
    result = torch.empty(0)
    for ids in steps:
        [result] = session.step(ids)
    return result.double()


def check_like_float(open_session: Open, model: Model) -> None:
    """Within a tenth of the logits' spread of float: fixed point and stated errors give far less, a wrong
    operation far more."""
    reference = logits(Session(Decoder(PlainBackend(), model.config, model.weights)), [PROMPT])
    difference = (logits(open_session(model), [PROMPT]) - reference).abs().max()
    _require(float(difference) < 0.1 * float(reference.std()), f"logits are {float(difference):.3g} off")


def check_cache(open_session: Open, model: Model) -> None:
    """Steps over a cache give what one pass gives."""
    whole = logits(open_session(model), [PROMPT])
    for cut in (1, 3, len(PROMPT) - 1):
        parts = logits(open_session(model), [PROMPT[:cut], *([token] for token in PROMPT[cut:])])
        difference = float((parts - whole).abs().max())
        _require(difference < 0.02 * float(whole.std()), f"a cache cut at {cut} is {difference:.3g} off")


def check_rows(open_session: Open, model: Model) -> None:
    """Rows of one pass are what shorter prompts give, after a cache as without one."""
    for cut in (0, 2):
        session = open_session(model)
        if cut:
            session.step(PROMPT[:cut])
        rows = session.step(PROMPT[cut:], 4)
        _require(rows.shape == (4, model.config.vocabulary), f"rows of shape {tuple(rows.shape)}")
        for length, row in zip(range(len(PROMPT) - 3, len(PROMPT) + 1), rows, strict=True):
            wanted = logits(open_session(model), [PROMPT[:length]])
            difference = float((row - wanted).abs().max())
            _require(difference < 0.02 * float(wanted.std()), f"row {length} is {difference:.3g} off")


def check_rewind(open_session: Open, model: Model) -> None:
    """A cache that is cut back goes on as if it had never been longer."""
    wanted = logits(open_session(model), [PROMPT])
    for cut in (1, 4):
        session = open_session(model)
        session.step([*PROMPT[:cut], 7, 8, 9])
        session.rewind(cut)
        difference = float((logits(session, [PROMPT[cut:]]) - wanted).abs().max())
        _require(difference < 0.02 * float(wanted.std()), f"after {cut} tokens it is {difference:.3g} off")


def check_every_token_counts(open_session: Open, model: Model) -> None:
    """Another token anywhere in the prompt, or another order, gives other logits."""
    whole = logits(open_session(model), [PROMPT])
    for place in range(len(PROMPT)):
        changed = [*PROMPT[:place], PROMPT[place] + 7, *PROMPT[place + 1 :]]
        difference = float((logits(open_session(model), [changed]) - whole).abs().max())
        _require(difference > 0.01 * float(whole.std()), f"token {place} does not matter")


def check_vocabulary(open_session: Open, model: Model) -> None:
    """One finite number for each token of the vocabulary."""
    result = logits(open_session(model), [PROMPT[:1]])
    _require(result.shape == (model.config.vocabulary,), f"logits of shape {tuple(result.shape)}")
    _require(bool(torch.isfinite(result).all()), "logits that are not finite")


CHECKS = (
    check_vocabulary,
    check_like_float,
    check_cache,
    check_rows,
    check_rewind,
    check_every_token_counts,
)


def check_all(open_session: Open, models: Sequence[Model]) -> None:
    """Every check on every model; raises Rejected at the first that fails."""
    for model in models:
        for check in CHECKS:
            check(open_session, model)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise Rejected(problem)
