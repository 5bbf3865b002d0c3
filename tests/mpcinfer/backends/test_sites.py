"""Labels are for display: other names of a bill's rows change neither rings nor bytes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from mpcinfer.counting import count
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.site import Site
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from tests.plans import ANY_MODEL


def _bill(model: str, plan: str) -> Bill:
    return count(load_config(model), get_plan(plan), tokens=3, ranges=dict(load_ranges_of(model)))


@pytest.mark.parametrize("model", ["tiny-python", "tiny-power4"])
@pytest.mark.parametrize("plan", ANY_MODEL)
def test_rows_may_have_any_names(model: str, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _bill(model, plan)
    for backend in (FssBackend, SecureBackend):
        _rename(backend, monkeypatch)
    renamed = _bill(model, plan)
    assert any(row.label.startswith("a row") for row in renamed.rows)
    assert renamed.total == usual.total


def _rename(backend: type[FssBackend | SecureBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    span = backend.span

    def other(self: FssBackend, name: str, kind: str = "") -> AbstractContextManager[object]:
        return span(self, f"a row for {name}", kind)

    monkeypatch.setattr(backend, "span", other)


def test_keys_of_ranges() -> None:
    assert Site(3, "attn").key == "layer3.attn"
    assert Site(None, "norm").key == "head.norm"
