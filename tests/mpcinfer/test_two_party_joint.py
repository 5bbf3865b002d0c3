"""All that a party has of a session without a dealer is independent bit by bit: see `two_party_views`."""

from __future__ import annotations

import pytest

from tests.mpcinfer.two_party_joint import TWICE, relation_where_correlations_are_used_twice, relations

FIRST = "product"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", pytest.param("llama", marks=pytest.mark.long)])
def test_no_bits_of_a_session_are_related(name: str) -> None:
    for found in relations(name):
        assert not found.pair.is_found, str(found.pair)
        assert not found.triple.is_found, str(found.triple)
        assert found.linear == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(each, marks=() if each == FIRST else pytest.mark.long) for each in TWICE]
)
def test_correlations_that_are_used_twice_are_noticed(kind: str) -> None:
    """Every opening by itself is uniform; two of them differ by the difference of their secrets."""
    assert any(found.is_found for found in relation_where_correlations_are_used_twice(kind))
