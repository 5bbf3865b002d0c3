"""Chooses a protocol for every operation: what a plan costs is counted, what it takes is predicted.

Every preset of every suite is a start; from each, one operation after the other gets the protocol that serves
the objective best, until no change of one operation helps. The best of all that were looked at is the choice,
so that it is never worse than a preset, as far as predictions go. Seconds are predicted and not counted:
there a change must promise more than `LEAST_GAIN` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mpcinfer.benchmark.modelled import Modelled, modelled
from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.passes import difference
from mpcinfer.benchmark.rates import Rates
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import folded_config
from mpcinfer.suites.entry import Entry, ErrorKind
from mpcinfer.suites.registry import SUITES, check, disclosures, get_plan, suite_of
from mpcinfer.suites.suite import DEALER
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from protocols.plan import DEFAULT_PLAN, Plan
from protocols.trust import Security

OBJECTIVES = ("seconds", "bytes", "offline")
"""Online seconds, online bytes both ways, and bytes that are dealt or sent before the input is known."""
LEAST_GAIN = 0.005
SAMPLE_TOKENS = 128
ROOM = 1024
"""Tokens of a session where nobody says otherwise; less where the model's context is."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a plan is wanted for.

    Attributes:
        config, ranges: of the model; no ranges for a shape without weights.
        tokens: of the prompt; new_tokens: of the answer, the first of which its pass gives.
        network: between all parties.
        objective: one of `OBJECTIVES`.
        max_error: the largest error that a chosen protocol may state; None for any.
        disclosing: protocols may give away what the default plan's do not.
    """

    config: ModelConfig
    ranges: Mapping[str, float] | None
    tokens: int
    new_tokens: int
    network: Network
    objective: str
    max_error: float | None = None
    disclosing: bool = False

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"an objective is one of {', '.join(OBJECTIVES)}, not {self.objective!r}")
        if self.tokens + self.new_tokens - 1 > self.config.context:
            raise ConfigError(
                f"{self.tokens} + {self.new_tokens} tokens do not fit the context of {self.config.context}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A plan and what it takes.

    Attributes:
        prompt, single: where the seconds of the prompt's pass and of a token more go.
        seconds: online, of the whole answer.
        online, offline, rounds: bytes both ways and rounds of the whole answer.
    """

    plan: Plan
    prompt: Modelled
    single: Modelled
    seconds: float
    online: int
    offline: int
    rounds: int

    def of(self, objective: str) -> float:
        """The number that an objective is about."""
        return {"seconds": self.seconds, "bytes": float(self.online), "offline": float(self.offline)}[
            objective
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A protocol that was not chosen: what the plan would take with it, or why it was left out."""

    protocol: str
    predicted: Predicted | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The planner's answer.

    Attributes:
        best: the choice.
        others: operation of the model -> the other protocols of its suite, the best first.
        presets: what the fixed plans take, the best first; their names with why where they are left out.
    """

    best: Predicted
    others: Mapping[str, Sequence[Other]]
    presets: Sequence[Predicted]
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])


def choose(task: Task, rates: Rates, tell: Tell | None = None) -> Chosen:
    """The plan that serves a task best.

    Args:
        rates: of this machine; suites without any are left out.
        tell: is told what is being looked at.

    Raises:
        ConfigError: no plan is left.
    """
    search = _Search(task, rates, tell)
    presets: list[Predicted] = []
    for suite in SUITES.values():
        for name, plan in suite.plans.items():
            predicted = search.look_at(plan)
            if predicted is not None:
                presets.append(predicted)
            search.starts[name] = plan
    if not any(search.startable(plan) for plan in search.starts.values()):
        raise ConfigError("no plan is left: " + "; ".join(f"{k}: {v}" for k, v in search.left_out.items()))
    found = [each for plan in search.starts.values() if (each := search.descend(plan)) is not None]
    if not found:
        raise ConfigError("no plan is left: " + "; ".join(f"{k}: {v}" for k, v in search.left_out.items()))
    presets.sort(key=search.rank)
    best = min(found, key=search.rank)
    if presets and not search.better(best, presets[0]):
        best = presets[0]
    return Chosen(
        best=best,
        others=search.others(best),
        presets=presets,
        left_out=search.left_out,
    )


class _Search:
    """Plans that were looked at, and why others are not."""

    def __init__(self, task: Task, rates: Rates, tell: Tell | None) -> None:
        self.task, self._rates, self._tell = task, rates, tell
        self._seen: dict[str, Predicted | None] = {}
        self._entries: dict[str, dict[tuple[str, str], Entry]] = {}
        self.starts: dict[str, Plan] = {}
        self.left_out: dict[str, str] = {}
        self._known = set(disclosures(get_plan(DEFAULT_PLAN)))

    def rank(self, predicted: Predicted) -> tuple[float, float]:
        """Smaller is better: the objective, then seconds."""
        return predicted.of(self.task.objective), predicted.seconds

    def better(self, one: Predicted, other: Predicted) -> bool:
        """Whether a plan is to be preferred, by more than what predictions are worth."""
        if self.task.objective == "seconds":
            return one.seconds < (1 - LEAST_GAIN) * other.seconds
        return self.rank(one) < self.rank(other)

    def startable(self, plan: Plan) -> bool:
        """Whether a suite may be looked at at all."""
        return plan.suite in self._rates.suites and not self._insecure(plan.suite)

    def look_at(self, plan: Plan) -> Predicted | None:
        """What a plan takes; None where it is left out, which `left_out` then says."""
        key = plan.digest()
        if key not in self._seen:
            why = self._why_not(plan)
            self._seen[key] = None
            if why:
                self.left_out[plan.name] = why
            else:
                if self._tell is not None:
                    self._tell(f"looking at {plan.name}")
                try:
                    self._seen[key] = predict(self.task, plan, self._rates)
                except (ConfigError, RangeError) as error:
                    self.left_out[plan.name] = str(error)
        return self._seen[key]

    def descend(self, start: Plan) -> Predicted | None:
        """From a plan to one that no change of one operation makes better."""
        if not self.startable(start):
            return None
        start = self._allowed_start(start)
        best = self.look_at(start)
        improved = best is not None
        while best is not None and improved:
            improved = False
            for operation in self._used(best.plan):
                for _, candidate in self._variants(best.plan, operation):
                    other = self.look_at(candidate)
                    if other is not None and self.better(other, best):
                        best, improved = other, True
        return best

    def others(self, best: Predicted) -> dict[str, list[Other]]:
        """The other protocols of each operation, the best first, those left out last."""
        found: dict[str, list[Other]] = {}
        for operation in self._used(best.plan):
            rows = [
                Other(
                    protocol=name,
                    predicted=predicted,
                    why_not="" if predicted else self.left_out.get(candidate.name, "left out"),
                )
                for name, candidate in self._variants(best.plan, operation)
                for predicted in [self.look_at(candidate)]
            ]
            found[operation] = sorted(
                rows,
                key=lambda row: (1, 0.0, 0.0) if row.predicted is None else (0, *self.rank(row.predicted)),
            )
        return found

    def _used(self, plan: Plan) -> list[str]:
        """The operations that the model has."""
        unused = suite_of(plan).unused(self.task.config)
        return [operation for operation in plan.choices if operation not in unused]

    def _variants(self, plan: Plan, operation: str) -> list[tuple[str, Plan]]:
        """The plan with each other protocol for an operation."""
        protocols = suite_of(plan).operations[operation]
        return [
            (name, renamed(plan, {operation: name})) for name in protocols if name != plan.choices[operation]
        ]

    def _allowed_start(self, plan: Plan) -> Plan:
        """The plan with protocols that are left out replaced by the most exact one that is not."""
        replaced: dict[str, str] = {}
        for operation in self._used(plan):
            name = plan.choices[operation]
            if not self._why_not_protocol(plan.suite, operation, name):
                continue
            protocols = suite_of(plan).operations[operation]
            allowed = [each for each in protocols if not self._why_not_protocol(plan.suite, operation, each)]
            if allowed:
                errors = {each: self._error(plan.suite, operation, each) for each in allowed}
                replaced[operation] = min(allowed, key=errors.__getitem__)
        return renamed(plan, replaced)

    def _why_not(self, plan: Plan) -> str:
        """Why a plan is left out; empty where it is not."""
        if plan.suite not in self._rates.suites:
            return _not_measured(plan)
        if self._insecure(plan.suite):
            return f"the suite {plan.suite} is not secure"
        try:
            check(plan)
        except ConfigError as error:
            return str(error)
        more = [said for said in disclosures(plan) if said not in self._known]
        if more and not self.task.disclosing:
            return f"it discloses more than the default plan: {more[0]}"
        whys = (self._why_not_protocol(plan.suite, each, plan.choices[each]) for each in self._used(plan))
        return next((why for why in whys if why), "")

    def _why_not_protocol(self, suite: str, operation: str, name: str) -> str:
        entry = self._entry(suite, operation, name)
        if entry is None:
            return ""
        if entry.security not in {each.value for each in Security}:
            return f"{operation}={name} is not secure: {entry.security}"
        error, most = self._error(suite, operation, name), self.task.max_error
        if most is not None and error > most:
            return f"{operation}={name} states an error of {error:g}, more than {most:g}"
        return ""

    def _error(self, suite: str, operation: str, name: str) -> float:
        """What a protocol states; 0 for nothing, and for units of the last place."""
        entry = self._entry(suite, operation, name)
        error = None if entry is None else entry.error
        return 0.0 if error is None or error.kind is ErrorKind.UNITS else error.value

    def _insecure(self, suite: str) -> bool:
        return any(
            entry.security not in {each.value for each in Security}
            for entry in self._entries_of(suite).values()
        )

    def _entry(self, suite: str, operation: str, name: str) -> Entry | None:
        return self._entries_of(suite).get((operation, name))

    def _entries_of(self, suite: str) -> dict[tuple[str, str], Entry]:
        if suite not in self._entries:
            config = folded_config(self.task.config)
            entries = SUITES[suite].entries(config, min(SAMPLE_TOKENS, config.context))
            self._entries[suite] = {(entry.operation, entry.name): entry for entry in entries}
        return self._entries[suite]


def _not_measured(plan: Plan) -> str:
    if DEALER in suite_of(plan).helpers:
        return f"nothing of the suite {plan.suite} was measured"
    return (
        "it has no dealer, whom to trust is not chosen by speed, and its speed is not measured here: take it "
        f"with --plan {plan.name}; `mpcinfer cost` says what it sends, `mpcinfer bench` how long it takes"
    )


def renamed(plan: Plan, choices: Mapping[str, str]) -> Plan:
    """A plan with other protocols, under the name of the preset that it differs least from, and how."""
    wanted = {**plan.choices, **choices}
    bases = [each for each in suite_of(plan).plans.values() if each.fold == plan.fold]
    if not bases:
        return plan.replace(**choices) if choices else plan
    base = min(bases, key=lambda each: sum(each.choices[key] != name for key, name in wanted.items()))
    changed = {key: name for key, name in wanted.items() if base.choices[key] != name}
    return base.replace(**changed) if changed else base


def predict(task: Task, plan: Plan, rates: Rates) -> Predicted:
    """What a plan takes for a task.

    Raises:
        ConfigError, RangeError: the plan cannot run the model.
    """
    prompt, single = pass_bills(task, plan)
    streamed, more = suite_of(plan).dealt_while_running, task.new_tokens - 1
    first, then = (
        modelled(bill, task.network, compute=rates.compute(plan.suite, bill), streamed=streamed)
        for bill in (prompt, single)
    )
    whole = (prompt.total, *(single.total,) * min(more, 1))
    weights = (1, more)

    def total(*names: str) -> int:
        return sum(
            times * sum(getattr(row, name) for name in names)
            for times, row in zip(weights, whole, strict=False)
        )

    return Predicted(
        plan=plan,
        prompt=first,
        single=then,
        seconds=first.seconds + more * then.seconds,
        online=total("online_bytes_to_server", "online_bytes_to_client"),
        offline=total("offline_bytes_to_server", "offline_bytes_to_client"),
        rounds=total("rounds"),
    )


def pass_bills(task: Task, plan: Plan) -> tuple[Bill, Bill]:
    """Counted bills of a prompt's pass and of one token in the middle of the answer, without setup.

    Raises:
        ConfigError, RangeError: the plan cannot run the model.
    """

    def counted(tokens: int, new_tokens: int) -> Bill:
        return count(
            task.config,
            plan,
            tokens=tokens,
            new_tokens=new_tokens,
            ranges=task.ranges,
            max_context=min(ROOM, task.config.context),
        )

    prompt = counted(task.tokens, 1)
    prompt.rows = [row for row in prompt.rows if row.rounds or row.label not in ("setup", "dealer")]
    middle = min(task.tokens + task.new_tokens // 2, task.config.context - 1)
    return prompt, difference(counted(middle, 1), counted(middle, 2))
