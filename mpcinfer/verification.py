"""Whether a private answer is what the model says: compared with the fixed-point reference, or not at all.

The reference needs the weights, so only who has both, prompt and weights, can compare; everybody else has
checked ranges (`--check-ranges`), or nothing. The bill says which of the three it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.answer import Answer
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.plans import require_verifiable
from mpcinfer.prefix.adapter import PrefixAdapter
from mpcinfer.prompt_weights.weights import PromptWeights
from mpcinfer.prompts import prompt_ids
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.reference_session import reference_session
from mpcinfer.sampling import Sampler
from mpcinfer.suites.registry import suite_of
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from protocols.plan import Plan

_COMPARES = "--verify compares it with the model, where the weights are at hand)"
_SILENT = "nobody checked the answer: where a value left its range it is wrong, in silence"
UNCHECKED = f"{_SILENT} (--check-ranges tells the client; {_COMPARES}"
"""A note on the bill of a session in which nothing was checked."""
UNCHECKABLE = f"{_SILENT} ({_COMPARES}"
"""The same where the plan does not check ranges."""


def unchecked(plan: Plan) -> str:
    """Which of both notes a session under a plan gets."""
    try:
        suite_of(plan).require_checkable(plan)
    except ConfigError:
        return UNCHECKABLE
    return UNCHECKED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        same: every logit is that of the reference, to the last bit or to within what rounding explains.
        text: says so, for people.
    """

    same: bool
    text: str

    def put_on(self, bill: Bill) -> None:
        """Notes it on a bill, in place of the note that nothing was checked."""
        unsaid = (UNCHECKED, UNCHECKABLE)
        bill.notes[:] = [*(note for note in bill.notes if note not in unsaid), self.text]


class Witness:
    """A sampler that keeps the logits it picks from.

    Args:
        sampler: picks.

    Attributes:
        logits: [V] each, one for every token of the answer and for the stop token.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.logits: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor) -> int:
        self.logits.append(logits.clone())
        return self._sampler(logits)


def verify(
    model: Model,
    plan: Plan,
    prompt: str,
    answer: Answer,
    logits: Sequence[torch.Tensor],
    *,
    max_context: int,
    public_prefix: PublicPrefix | None = None,
    prefix: PrefixAdapter | None = None,
    weights: PromptWeights | None = None,
) -> Verdict:
    """Runs the reference over prompt and answer in one pass, and compares its logits with the private ones.

    Args:
        model: with its weights; its ranges are those of the session.
        logits: as a `Witness` kept them while the answer was made.
        max_context: of the session, which rings depend on.
        public_prefix: what came before the prompt and was not run.
        prefix: what every query saw besides.
        weights: of the prompt's examples.

    Raises:
        ConfigError: the plan cannot run the model, or moves keys and values into states.

    Cost: one pass in the clear, of as many tokens as there are. Nothing is revealed: it runs at one party.
    """
    require_verifiable(plan)
    suite, rows = suite_of(plan), len(logits)
    asked = (
        prompt_ids(model, prompt)
        if public_prefix is None
        else public_prefix.after(PublicModel.of(model), prompt)
    )
    ids = [*asked, *answer.ids]
    fed = ids[: len(ids) - len(answer.ids) + rows - 1]
    try:
        decoder = suite.reference(model, plan, max_context=max_context, prefix=prefix)
        session = reference_session(model, plan, decoder, public_prefix)
        if weights is not None:
            session.weigh(weights.columns(PublicModel.of(model), prompt))
        reference = session.step(fed, rows)
    except RangeError as error:
        return Verdict(False, f"NOT VERIFIED: in the fixed-point reference a value leaves its range: {error}")
    return _compared(
        model.name, torch.stack(list(logits)), reference, suite.rounding_of_logits(plan, model.ranges)
    )


def _compared(name: str, private: torch.Tensor, reference: torch.Tensor, allowed: float) -> Verdict:
    """Logits [rows, V] of both."""
    apart = (private.double() - reference.double()).abs().amax(-1)
    largest, rows = float(apart.max()), len(apart)
    other = int((private.argmax(-1) != reference.argmax(-1)).sum())
    if largest > allowed:
        first = int((apart > allowed).nonzero()[0])
        explained = f", and rounding explains {allowed:.3g}" if allowed else ""
        return Verdict(
            False,
            f"NOT VERIFIED: this is not what {name} says. From token {first + 1} of the answer on logits are "
            f"{largest:.3g} apart from the fixed-point reference{explained}; {other} of {rows} likeliest "
            "tokens differ. The server has other weights, or a value left its range",
        )
    if largest == 0:
        how = "the same logits bit by bit"
    else:
        how = f"the same logits but for rounding, {largest:.3g} apart where that explains {allowed:.3g}"
    likeliest = f"; {other} likeliest tokens differ, that close to others" if other else ""
    return Verdict(True, f"verified: {name} in fixed point in the clear gives {how}, {rows} times{likeliest}")
