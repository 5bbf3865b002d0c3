"""Cases are made from the registry, and found by name and pattern."""

from __future__ import annotations

import re

import pytest

from mpcinfer.benchmark.cases import Case, listed, parse, select
from mpcinfer.benchmark.runner import count_of
from mpcinfer.counting import count
from mpcinfer.suites.registry import PLANS, SUITES
from parties.errors import ConfigError
from tests.plans import ANY_MODEL

EVERY = list(listed())


def test_names_are_read_as_they_are_written() -> None:
    assert [parse(case.name) for case in EVERY] == EVERY


def test_every_registered_protocol_has_a_case() -> None:
    names = {case.name for case in EVERY}
    for suite in SUITES.values():
        for operation, protocols in suite.operations.items():
            assert {f"operation/{operation}/{suite.name}/{name}/T128" for name in protocols} <= names


def test_patterns_choose_and_tokens_and_plans_change_what_there_is_to_choose_from() -> None:
    assert [case.name for case in select(["operation/gelu/fss/l*"])] == [
        "operation/gelu/fss/lines/T128",
        "operation/gelu/fss/lookup/T128",
    ]
    chosen = select(["block/gpt2/SM+LN+G/*", "block/gpt2/SM+LN+G/fss/*"], tokens=[1, 64], plans=["fss"])
    assert [case.name for case in chosen] == [f"block/gpt2/SM+LN+G/fss/T{count}" for count in (1, 64)]


def test_any_model_folder_has_a_name() -> None:
    [case] = select(["model/./runs/mine/fss/T7"])
    assert case == Case(kind="model", model="./runs/mine", plan="fss", tokens=7)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gelu", "no case 'gelu'"),
        ("operation/gelu/fss/lines", "no case"),
        ("operation/gelu/fss/linse/T8", "did you mean 'lines'"),
        ("operation/gleu/fss/lines/T8", "did you mean 'gelu'"),
        ("operation/gelu/fsss/lines/T8", "no suite 'fsss'"),
        ("operation/*/nowhere/*", "no case matches"),
        ("model/tiny-python/fss/T0", "no case"),
    ],
)
def test_what_there_is_none_of_is_said_by_name(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        select([name])


@pytest.mark.parametrize("plan", ANY_MODEL)
def test_a_block_costs_what_mpcinfer_cost_says(plan: str) -> None:
    case = parse(f"block/gpt2/SM+LN+G/{plan}/T16")
    expected = count(case.config, PLANS[plan], tokens=16, part="stack")
    of_blocks = [row for row in expected.rows if row.label.startswith("layer")]
    assert [(row.label, row.rounds) for row in count_of(case).rows if row.rounds] == [
        (row.label, row.rounds) for row in of_blocks if row.rounds
    ]
    got, want = count_of(case).total, expected.total
    assert (got.online_bytes_to_server, got.online_bytes_to_client) == (
        want.online_bytes_to_server,
        want.online_bytes_to_client,
    )


def test_a_token_costs_what_a_longer_answer_costs_more() -> None:
    case = parse("token/tiny-python/fss/T8")
    assert count_of(case).total.rounds == 60
    assert count_of(case).total.setup_bytes == 0
    assert count_of(parse("model/tiny-python/fss/T8")).total.setup_bytes > 0
