"""Plans by name, and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpcinfer import cost
from mpcinfer.plans import plan_from, read_plan, write_plan
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError


def test_a_plan_file_is_the_plan_it_was_written_from(tmp_path: Path) -> None:
    path, plan = tmp_path / "mine.json", plan_from("fss", ["gelu=fine"])
    write_plan(path, plan, made_for={"network": "wan-100m"})
    assert read_plan(path) == plan
    assert plan_from(str(path)).digest() == plan.digest()
    assert plan_from(str(path), ["maximum=tree"]).digest() == plan.replace(maximum="tree").digest()
    assert json.loads(path.read_text())["made_for"] == {"network": "wan-100m"}
    assert (
        cost("tiny-python", plan=str(path), tokens=4).total
        == cost("tiny-python", choices=["gelu=fine"], tokens=4).total
    )


def test_a_plan_s_fields_alone_are_a_plan_file(tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text(json.dumps(get_plan("crypten").to_json()))
    assert plan_from(str(tmp_path / "bare.json")) == get_plan("crypten")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no plan"),
        ("{}", "no plan"),
        ('{"plan": {"name": "x"}}', "no plan"),
        (" " * (1 << 20) + "{}", "no plan"),
    ],
)
def test_what_is_no_plan_file(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"wrong.json: {says}"):
        plan_from(str(path))


def test_a_plan_that_was_changed_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, get_plan("fss"))
    path.write_text(path.read_text().replace('"lines"', '"lookup"'))
    with pytest.raises(ConfigError, match="changed by hand"):
        plan_from(str(path))


def test_a_plan_of_unknown_protocols_is_refused(tmp_path: Path) -> None:
    path, plan = tmp_path / "plan.json", get_plan("fss")
    document = plan.to_json() | {"choices": {**plan.choices, "gelu": "none"}}
    path.write_text(json.dumps({"plan": document}))
    assert read_plan(path).choices["gelu"] == "none"
    with pytest.raises(ConfigError, match="gelu has no protocol 'none'"):
        plan_from(str(path))
    path.write_text(json.dumps({"plan": document | {"suite": "none"}}))
    with pytest.raises(ConfigError, match="no suite 'none'"):
        plan_from(str(path))


def test_names_of_plan_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        plan_from(str(tmp_path / "missing.json"))
    with pytest.raises(ConfigError, match=r"ends in \.json"):
        write_plan(tmp_path / "plan.txt", get_plan("fss"))
    with pytest.raises(ConfigError, match="plan file"):
        write_plan(tmp_path / "missing" / "plan.json", get_plan("fss"))
