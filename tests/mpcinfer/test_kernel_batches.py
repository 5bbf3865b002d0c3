"""Batches under a Gaussian kernel: of one length they run; of several lengths every suite refuses them, as no
padding is hidden from a kernel."""

from __future__ import annotations

import pytest
import torch

from mpcinfer import cost
from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.arithmetic.agreed_batch import agreed_batch
from mpcinfer.suites.fss.connect import agreed_program
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from tests.mpcinfer.test_batches import (
    ANY,
    CONTEXT,
    EQUAL,
    EXACT,
    NEW,
    SAME,
    in_the_clear,
    privately,
    samplers,
)
from tests.mpcinfer.test_encoders import costs
from tests.mpcinfer.variant_models import variant_model

REFUSED = r"attention=gaussian: .*--equal-lengths"


def test_a_batch_of_one_length_is_one_by_one_to_the_last_bit_and_counted() -> None:
    model, together = variant_model("gaussian"), samplers(3)
    answers, bill = privately(model, EQUAL, SAME, together)
    for prompt, answer, seen in zip(EQUAL, answers, together, strict=True):
        alone = samplers(1)
        assert in_the_clear(model, [prompt], Batch(), alone) == [answer]
        assert torch.equal(torch.stack(seen.logits), torch.stack(alone[0].logits))
    counted = count(
        model.config, EXACT, tokens=4, new_tokens=NEW, ranges=model.ranges, batch=SAME, max_context=CONTEXT
    )
    assert costs(bill) == costs(counted)


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten", "two-party"])
def test_a_bill_of_several_lengths_is_refused_and_of_one_is_not(plan: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED):
        cost("gpt2-gaussian", plan=plan, tokens=4, part="stack", batch=2)
    assert cost("gpt2-gaussian", plan=plan, tokens=4, part="stack", batch=2, equal_lengths=True).total.rounds


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_a_session_of_several_lengths_is_refused_by_the_server(plan: str) -> None:
    public, chosen = PublicModel.of(variant_model("gaussian")), get_plan(plan)
    agree = agreed_program if plan == "fss" else agreed_batch
    more = {"max_context": 8, "first": 0} if plan == "fss" else {}
    label = "session.max_context" if plan == "fss" else "session.batch"
    ends = local_pair()
    with Link(ends[0], Meter(), SERVER) as server, Link(ends[1], Meter(), CLIENT) as client:
        with client.meter.phase(Phase.CONTROL):
            client.send_document({**more, **ANY.to_document()}, label)
        with pytest.raises(PeerMismatch, match=REFUSED):
            agree(server, SessionConfig(plan=chosen, public=public))
