"""A plan as users name it: a preset, or a file that `mpcinfer plan` wrote."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from mpcinfer.suites.registry import check, get_plan
from parties.errors import ConfigError
from protocols.plan import Plan

SUFFIX = ".json"
CACHE = "cache"
"""Names among the choices how keys and values are kept."""
CHUNK = 128
"""Tokens that move into a state at once, where nothing is said."""
_MAX_BYTES = 1 << 20


def plan_from(name: str, choices: Sequence[str] | None = None) -> Plan:
    """The plan called `name` with some operations' protocols replaced.

    Args:
        name: of a preset, or of a plan file, which ends in `.json`.
        choices: `operation=protocol`, each; and `cache=kv`, `cache=state` or `cache=state:CHUNK`.

    Raises:
        ConfigError: no such preset, file, operation or protocol; the known ones are listed.
    """
    plan = named_plan(name)
    replaced: dict[str, str] = {}
    for choice in choices or ():
        operation, equals, protocol = choice.partition("=")
        if not equals or not operation or not protocol:
            raise ConfigError(f"expected OPERATION=PROTOCOL, got {choice!r}")
        if operation == CACHE:
            plan = with_cache(plan, protocol)
        else:
            replaced[operation] = protocol
    plan = plan.replace(**replaced) if replaced else plan
    check(plan)
    return plan


def with_cache(plan: Plan, cache: str) -> Plan:
    """The plan with keys and values kept as they are (`kv`), or as a state into which whole chunks move.

    Args:
        cache: `kv`, `state`, or `state:CHUNK`, of `CHUNK` tokens where nothing is said.

    Raises:
        ConfigError: something else, or a chunk of no tokens.
    """
    kind, _, size = cache.partition(":")
    if cache == "kv":
        return dataclasses.replace(plan, chunk=0)
    size = size or str(CHUNK)
    if kind != "state" or not size.isdecimal() or int(size) < 1:
        raise ConfigError(f"cache={cache}: expected kv, state or state:CHUNK, as many tokens, 1 or more")
    return dataclasses.replace(plan, chunk=int(size), name=f"{plan.name}+cache={cache}")


def require_verifiable(plan: Plan) -> None:
    """Raises ConfigError where one pass over prompt and answer is not what a private run computes."""
    if plan.chunk:
        raise ConfigError(
            "--verify runs prompt and answer in one pass over keys and values, which a state rounds "
            "otherwise: compare with --local fixed --cache state, or take --cache kv"
        )


def named_plan(name: str) -> Plan:
    """A preset, or the plan of a file; without the check that its protocols exist, which loads them.

    Raises:
        ConfigError: there is none, or the file has none.
    """
    return read_plan(Path(name)) if name.endswith(SUFFIX) else get_plan(name)


def read_plan(path: Path) -> Plan:
    """The plan of a file of `write_plan`, or of one that has a plan's fields alone.

    Raises:
        ConfigError: it cannot be read, has no plan, or was changed since: its digest is another.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        document: Any = json.loads(text) if len(text) <= _MAX_BYTES else None
    except OSError as error:
        raise ConfigError(f"plan file {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"plan file {path}: not JSON") from None
    fields = cast(dict[str, Any], document) if isinstance(document, dict) else {}
    try:
        plan = Plan.from_json(fields.get("plan", fields))
    except ConfigError as error:
        raise ConfigError(f"plan file {path}: {error}") from None
    if fields.get("digest", plan.digest()) != plan.digest():
        raise ConfigError(
            f"plan file {path}: its digest is not that of its plan. It was changed by hand: remove the "
            "digest, or have `mpcinfer plan` write it again"
        )
    return plan


def write_plan(path: Path, plan: Plan, **about: Any) -> None:
    """Writes a plan, its digest, and what else is to be known of it.

    Raises:
        ConfigError: the name does not end in `.json`, or it cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ConfigError(f"a plan file's name ends in {SUFFIX}, so that --plan knows it; not {path.name!r}")
    document = {"plan": plan.to_json(), "digest": plan.digest(), **about}
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"plan file {path}: {error.strerror}") from None
