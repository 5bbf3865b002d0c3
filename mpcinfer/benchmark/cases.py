"""Benchmark cases by name, made from what suites have registered, the variants and the models at hand.

operation/gelu/fss/lines/T128        a protocol on its sample: operation, suite, protocol, tokens
block/gpt2/SM+LN+G/fss/T128          one block: shape, variant (or `own`), plan, tokens
block/gpt2/SM+ScFuFFN, folded/fss/T128    its FFN folded away, where that can be done
stack/gpt2/SM+LN+G/fss/T128          all blocks of the shape, likewise
model/tiny-python/fss/T32            a prompt's pass through a model: name or path, plan, tokens
token/tiny-python/fss/T32            one token after that prompt, over the KV cache
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import attention_only_config
from mpcinfer.models.load import load_config
from mpcinfer.models.variants import variant, variants
from mpcinfer.models.zoo import zoo
from mpcinfer.plans import plan_from
from mpcinfer.suites.registry import PLANS, SUITES, suite_named
from mpcinfer.suites.task import Task
from parties.errors import ConfigError
from protocols.plan import Plan, suggest

KINDS = ("operation", "block", "stack", "model", "token")
TASKS = ("operation", "block", "stack")
OWN = "own"
"""The variant of a shape that is left as it is."""
FOLDED = ", folded"
"""Ends the name of a variant whose FFNs are folded away."""
MODEL_TOKENS = 32
STACKS = ("SM+LN+G", "SM+ScFuFFN")
"""Variants of which whole stacks are listed; others can be named."""
POWER_EPSILON = 0.1
"""Of power attention in blocks with random weights; range training leaves it there."""
_NAME = re.compile(r"(?P<kind>[a-z]+)/(?P<rest>.+)/T(?P<tokens>[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        kind: of `KINDS`.
        model: the shape, or the model with its weights; empty for an operation, which has the catalogue's.
        variant: of blocks; empty otherwise.
        operation, suite, protocol: of an operation; empty otherwise.
        plan: a plan's name; for an operation that of the plan in which it is sampled.
        tokens: of the pass, or of the prompt.
    """

    kind: str
    model: str = ""
    variant: str = ""
    operation: str = ""
    suite: str = ""
    protocol: str = ""
    plan: str = ""
    tokens: int

    @property
    def name(self) -> str:
        """As on the command line."""
        middle = {
            "operation": (self.operation, self.suite, self.protocol),
            "block": (self.model, self.variant, self.plan),
            "stack": (self.model, self.variant, self.plan),
        }.get(self.kind, (self.model, self.plan))
        return "/".join((self.kind, *middle, f"T{self.tokens}"))

    @property
    def chosen(self) -> Plan:
        """The plan.

        Raises:
            ConfigError: there is none of that name.
        """
        if self.kind == "operation":
            return suite_named(self.suite).sample_plan(self.operation, self.protocol)
        return plan_from(self.plan)

    @property
    def config(self) -> ModelConfig:
        """The shape that is run, norms not folded.

        Raises:
            ConfigError: no such model or variant, or more tokens than its context holds.
        """
        base = load_config(self.model or SAMPLE_MODEL)
        if self.kind == "operation":  # of a first block: what is after it is never read
            return dataclasses.replace(base, layers=1, context=max(base.context, self.tokens))
        if self.kind not in TASKS:
            return base
        layers = 1 if self.kind == "block" else base.layers
        # Blocks cost the same whatever vocabulary and context their model was made for.
        context = max(base.context, self.tokens)
        base = dataclasses.replace(
            base, layers=layers, vocabulary=1, context=context, attention_epsilon=POWER_EPSILON
        )
        return base if self.variant == OWN else variant_of(self.variant, base)

    @property
    def task(self) -> Task:
        """What is run, of an operation or of blocks; errors as `chosen` and `config`."""
        return Task(plan=self.chosen, config=self.config, tokens=self.tokens, operation=self.operation)

    @property
    def shape(self) -> list[int]:
        """Of the residual [1, T, D] that goes into blocks, or of a pass's tokens [T]; none of an operation,
        whose inputs are its suite's."""
        if self.kind in ("block", "stack"):
            return [1, self.tokens, self.config.width]
        return [] if self.kind == "operation" else [1 if self.kind == "token" else self.tokens]


def variant_of(name: str, base: ModelConfig) -> ModelConfig:
    """A variant of a shape by name, which may end in `FOLDED`.

    Raises:
        ConfigError: there is none of that name, or its FFNs do not fold away.
    """
    config = variant(name.removesuffix(FOLDED), base)
    return attention_only_config(config) if name.endswith(FOLDED) else config


def _folds(name: str) -> bool:
    try:
        variant_of(name + FOLDED, load_config(SAMPLE_MODEL))
    except ConfigError:
        return False
    return True


def parse(name: str) -> Case:
    """The case of a name. That there are such a plan, shape and protocol is seen when it is run.

    Raises:
        ConfigError: the name has another form, or names an operation or protocol that there is none of.
    """
    found = _NAME.fullmatch(name)
    kind, rest, count = ("", "", "0") if found is None else found.group("kind", "rest", "tokens")
    tokens = int(count)
    match kind, rest.split("/"):
        case "operation", [operation, suite, protocol]:
            known = suite_named(suite).operations
            if operation not in known:
                raise ConfigError(f"{name}: no operation {operation!r}; {suggest(operation, known)}")
            if protocol not in known[operation]:
                raise ConfigError(f"{name}: no protocol {protocol!r}; {suggest(protocol, known[operation])}")
            return _operation(operation, suite, protocol, tokens)
        case "block" | "stack", [*model, form, plan] if model:
            return Case(kind=kind, model="/".join(model), variant=form, plan=plan, tokens=tokens)
        case "model" | "token", [*model, plan] if model:
            return Case(kind=kind, model="/".join(model), plan=plan, tokens=tokens)
        case _:
            raise ConfigError(
                f"no case {name!r}; cases are called as `mpcinfer bench --list` shows them, such as "
                "operation/gelu/fss/lines/T128 or model/tiny-python/fss/T32"
            )


def listed(tokens: Sequence[int] = (), plans: Sequence[str] = ()) -> Generator[Case]:
    """Every case that has a name without being asked for: the registry's, and those of models at hand.

    Args:
        tokens: instead of 128 (operations and blocks) and 32 (models).
        plans: instead of all.

    Raises:
        ConfigError: no such plan.
    """
    names = [plan_from(name).name for name in plans] or list(PLANS)
    for count in tokens or (SAMPLE_TOKENS,):
        yield from _operations(count, {plan_from(name).suite for name in names})
        for form in variants():
            for each in (form.name, *((form.name + FOLDED,) if _folds(form.name) else ())):
                yield from (_blocks("block", SAMPLE_MODEL, each, plan, count) for plan in names)
        for form in STACKS:
            yield from (_blocks("stack", SAMPLE_MODEL, form, plan, count) for plan in names)
    runnable = [entry.name for entry in zoo().values() if entry.has_weights]
    for count in tokens or (MODEL_TOKENS,):
        for kind in ("model", "token"):
            for model in runnable:
                yield from (Case(kind=kind, model=model, plan=plan, tokens=count) for plan in names)


def select(patterns: Sequence[str], tokens: Sequence[int] = (), plans: Sequence[str] = ()) -> list[Case]:
    """Cases by name and by pattern (`operation/*/fss/*`), each once, in the order of the patterns.

    Args:
        patterns: with `*`, `?` or `[...]`, which match any characters of `listed` names; or names, of any
            model folder and any number of tokens.
        tokens, plans: as for `listed`; they do not change what has a name of its own.

    Raises:
        ConfigError: no such plan or case, or a pattern that matches nothing.
    """
    chosen: dict[str, Case] = {}
    every = list(listed(tokens, plans)) if any(_is_pattern(each) for each in patterns) else []
    for pattern in patterns:
        if not _is_pattern(pattern):
            case = parse(pattern)
            chosen.setdefault(case.name, case)
            continue
        found = [case for case in every if fnmatchcase(case.name, pattern)]
        if not found:
            raise ConfigError(f"no case matches {pattern!r}; `mpcinfer bench --list` has all of them")
        for case in found:
            chosen.setdefault(case.name, case)
    return list(chosen.values())


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _operations(tokens: int, suites: set[str]) -> Generator[Case]:
    for name, suite in SUITES.items():
        for operation, protocols in suite.operations.items() if name in suites else ():
            for protocol in protocols:
                yield _operation(operation, name, protocol, tokens)


def _operation(operation: str, suite: str, protocol: str, tokens: int) -> Case:
    plan = suite_named(suite).sample_plan(operation, protocol).name
    return Case(
        kind="operation", operation=operation, suite=suite, protocol=protocol, plan=plan, tokens=tokens
    )


def _blocks(kind: str, model: str, form: str, plan: str, tokens: int) -> Case:
    return Case(kind=kind, model=model, variant=form, plan=plan, tokens=tokens)
