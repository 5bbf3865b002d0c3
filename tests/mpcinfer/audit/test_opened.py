"""Sessions of plans are tapped whole, come out at chance level, and do not where masks are missing."""

from __future__ import annotations

import pytest
import torch

from mpcinfer.audit.opened import PROMPT, WEIGHTS, audit_opened
from mpcinfer.audit.sessions import tapped_session
from mpcinfer.audit.victims import victim, victims
from mpcinfer.audit.views import CONTROL, DEALT, RESULT, view
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from protocols.additive.correlations import Request, Stream
from tests.openings import listed

PLANS = ["fss", "crypten", "two-party"]


@pytest.mark.parametrize("plan", PLANS)
def test_all_that_is_tapped_has_a_listed_reason(plan: str) -> None:
    session = tapped_session(victim(), get_plan(plan), [1, 2, 3])
    suite = get_plan(plan).suite
    for rank, others in ((SERVER, {CONTROL}), (CLIENT, {CONTROL, RESULT})):
        seen = view(session, rank)
        reasons = {key.reason for key in seen}
        dealt = {DEALT} if suite != "two-party" else set[str]()
        assert others | dealt <= reasons
        assert reasons - others - dealt <= set(listed(suite))
        assert len(reasons) > 5
        assert all(words.size for key, words in seen.items() if key.form != "received")


def test_tapped_sessions_compute_what_the_model_does() -> None:
    model = victim()
    decoder = Decoder(PlainBackend(), model.config, model.weights)
    expected = decoder.forward(torch.tensor([[1, 2, 3]]), 3)[0, -1]
    logits = tapped_session(model, get_plan("crypten"), [1, 2, 3]).logits
    assert torch.allclose(
        logits.double(), expected.double(), atol=0.02
    )  # a few units of 16 fraction bits a layer


def test_candidates_for_weights_look_the_same_from_outside() -> None:
    first, second = victims(2)
    assert first.ranges == second.ranges
    assert not torch.equal(first.weights["layer0.attn.qkv.weight"], second.weights["layer0.attn.qkv.weight"])


@pytest.mark.parametrize("secret", [PROMPT, WEIGHTS])
@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_default_plans_are_at_chance_level(plan: str, secret: str) -> None:
    audit = audit_opened(get_plan(plan), secret, candidates=4, trials=12)
    assert audit.clean, audit.leaks
    told = [row for row in audit.rows if row.reason == RESULT]
    assert [row.rate for row in told] == ([1.0] if secret == WEIGHTS else [])  # the client's own answer


@pytest.mark.parametrize("secret", [PROMPT, WEIGHTS])
def test_missing_masks_are_a_leak(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what is opened is recovered every time."""
    strong = Stream.masks

    def none(self: Stream, request: Request) -> list[torch.Tensor]:
        return [torch.zeros_like(mask) for mask in strong(self, request)]

    monkeypatch.setattr(Stream, "masks", none)
    audit = audit_opened(get_plan("crypten"), secret, candidates=3, trials=12)
    assert not audit.clean
    certain = [row.reason for row in audit.leaks if row.best == 1.0]
    assert any(reason.startswith("beaver") for reason in certain)


def test_one_candidate_is_refused() -> None:
    with pytest.raises(ConfigError, match="candidates, trials: at least 2 and 1, got 1 and 3"):
        audit_opened(get_plan("fss"), PROMPT, candidates=1, trials=3)
