"""The oracle of law 12: a policy decided by walking its parsed YAML, slowly and in plain sight.

It shares nothing with the engine but the calendar, which has tests of its own: conditions are read
from the raw values, prices from the raw table, and every rule is tried in turn. A truth may be
unknown (None); what is unknown denies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from planner.latency import LatencyProfile
from planner.prices import PriceEntry
from policies.budgets import Allowance, Usage, window

Truth = bool | None
Inputs = dict[str, Any]

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
RANKS = {"resolution": ["1k", "2k", "4k"], "generation_mode": ["fast", "balanced", "quality"]}
STANDARD = {
    "aspect_ratio": "1:1",
    "face_reference_mode": "match_reference",
    "resolution": "1k",
    "seed": 42,
    "num_images": 1,
    "output_format": "png",
    "return_base64": False,
}
STRICTNESS = ["allow", "needs_approval", "deny"]


class Unknown(Exception):
    """A value that cannot be read now."""


def every(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    return False if False in found else (None if None in found else True)


def some(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    return True if True in found else (None if None in found else False)


def opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


def percent(text: str) -> Fraction:
    return Fraction(text.rstrip("% ")) / 100


def minutes(text: str) -> int:
    return int(text[:-3]) * 60 + int(text[-2:])


LADDERS: dict[str, list[Any]] = {"num_images": [1, 2, 3, 4], **RANKS}


def better(inputs: Inputs, order: list[str]) -> list[int]:
    """What candidates are compared by: the last-named field first."""
    return [LADDERS[name].index(inputs.get(name, STANDARD.get(name))) for name in reversed(order)]


@dataclass
class Answer:
    """What the oracle finds, in plain values."""

    verdict: str
    inputs: Inputs
    credits: int
    changes: list[tuple[str, Any, Any, str, int]]
    findings: list[tuple[str, str]]
    allowances: list[tuple[Any, ...]]
    approvers: list[str]


@dataclass
class Oracle:
    """One policy, one price entry, one instant."""

    data: Mapping[str, Any]
    entry: PriceEntry
    at: datetime
    usage: Callable[[Allowance], Usage]
    labels: dict[str, str]
    rate_microusd: int | None = None
    latency: LatencyProfile | None = None
    findings: list[tuple[str, str, str]] = field(default_factory=list)
    changes: list[tuple[str, Any, Any, str, int]] = field(default_factory=list)
    verdict: str = ""
    """What was decided, for the conditions of guarantees."""

    # -- what things are worth ---------------------------------------------------------------------

    def billed(self, inputs: Inputs) -> str:
        given = inputs.get("generation_mode")
        return given or self.entry.omitted_mode[inputs.get("resolution") or "1k"]

    def price(self, inputs: Inputs) -> int:
        one = self.entry.credits[self.billed(inputs)][inputs.get("resolution") or "1k"]
        face = self.entry.face_reference if inputs.get("face_reference") else 0
        return (one + face) * (inputs.get("num_images") or 1)

    def value(self, name: str, inputs: Inputs) -> Any:
        local = self.at.astimezone(self.zone)
        match name:
            case "generation_mode":
                return self.billed(inputs)
            case "credits":
                return self.price(inputs)
            case "usd":
                return Decimal(self.price(inputs) * (self.rate_microusd or 0)) / 1_000_000
            case "seconds":
                face, images = bool(inputs.get("face_reference")), inputs.get("num_images") or 1
                assert self.latency is not None
                row = self.billed(inputs), inputs.get("resolution") or "1k", face, images
                return self.latency.rows[row].p90_seconds
            case "verdict":
                return self.verdict
            case "weekday":
                return DAYS[local.weekday()]
            case "time":
                return local.hour * 60 + local.minute
            case "aspect_ratio" if inputs.get("image_reference"):
                return inputs.get("aspect_ratio")
            case "face_reference_mode" if not inputs.get("face_reference"):
                return None
            case _ if name in (self.data.get("labels") or {}):
                return self.labels.get(name)
            case _:
                return inputs.get(name, STANDARD.get(name))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.data.get("timezone", "UTC"))

    # -- conditions --------------------------------------------------------------------------------

    def truth(self, condition: Mapping[str, Any] | None, inputs: Inputs) -> Truth:
        return every(self.part(key, data, inputs) for key, data in (condition or {}).items())

    def part(self, key: str, data: Any, inputs: Inputs) -> Truth:
        match key:
            case "any":
                return some(self.truth(item, inputs) for item in data)
            case "all":
                return every(self.truth(item, inputs) for item in data)
            case "not":
                return opposite(self.truth(data, inputs))
            case "used":
                return every(self.used(name, test, inputs) for name, test in data.items())
            case _:
                return self.test(key, data, lambda: self.value(key, inputs), inputs)

    def used(self, name: str, data: Any, inputs: Inputs) -> Truth:
        return self.test("used", data, lambda: self.share(name, inputs), inputs)

    def test(self, key: str, data: Any, read: Callable[[], Any], inputs: Inputs) -> Truth:
        if data in ("present", "absent"):
            there = (self.labels if key in (self.data.get("labels") or {}) else inputs).get(key) is not None
            return there is (data == "present")
        if isinstance(data, dict) and "from" in data:
            start, end, now = minutes(data["from"]), minutes(data["to"]), read()
            return start <= now < end if start < end else now >= start or now < end
        if isinstance(data, dict):
            return every(self.operation(key, name, item, read, inputs) for name, item in data.items())
        try:
            value = read()
        except Unknown:
            return None
        wanted = data if isinstance(data, list) else [data]
        return value is not None and value in [self.bound(key, item) for item in wanted]

    def operation(self, key: str, name: str, data: Any, read: Callable[[], Any], inputs: Inputs) -> Truth:
        match name:
            case "not":
                return opposite(self.test(key, data, read, inputs))
            case "any":
                return some(self.test(key, item, read, inputs) for item in data)
            case "all":
                return every(self.test(key, item, read, inputs) for item in data)
        try:
            value = read()
        except Unknown:
            return None
        if value is None:
            return False
        if key in RANKS:
            value, bound = RANKS[key].index(value), RANKS[key].index(data)
        else:
            bound = self.bound(key, data)
        return {
            "above": value > bound,
            "at_least": value >= bound,
            "below": value < bound,
            "at_most": value <= bound,
        }[name]

    def bound(self, key: str, data: Any) -> Any:
        return percent(data) if key == "used" else data

    # -- budgets -----------------------------------------------------------------------------------

    def allowance(self, budget: Mapping[str, Any]) -> Allowance:
        scope = tuple((label, self.labels.get(label)) for label in budget.get("for_each", []))
        start, end = window(budget["per"], self.at, self.zone)
        limit = budget["limit"]
        if isinstance(limit, dict):
            limit = limit.get(scope[0][1], limit["otherwise"]) if scope[0][1] else limit["otherwise"]
        if isinstance(limit, str) and limit.endswith("USD"):
            micro = int(Decimal(limit.split()[0]) * 1_000_000)
            return Allowance(budget["name"], scope, start, end, micro, "microusd", self.enforced)
        credits = int(str(limit).split()[0])
        return Allowance(budget["name"], scope, start, end, credits, "credits", self.enforced)

    @property
    def enforced(self) -> bool:
        return self.data.get("enforcement", "on") == "on"

    def share(self, name: str, inputs: Inputs) -> Fraction | None:
        budget = next(item for item in self.data["budgets"] if item["name"] == name)
        applies = self.truth(budget.get("applies_to"), inputs)
        if not applies:
            return None
        allowance = self.allowance(budget)
        try:
            usage = self.usage(allowance)
        except RuntimeError:
            raise Unknown from None
        most = allowance.limit + usage.granted
        return Fraction(usage.settled + usage.held + usage.unknown, most) if most else Fraction(1)

    # -- the order of things -----------------------------------------------------------------------

    def decide(self, asked: Inputs, allow_rewrite: bool = True) -> Answer:
        inputs = self.rewrite(asked, allow_rewrite)
        self.labels_known()
        self.rules(inputs)
        inputs, allowances = self.budgets(inputs, allow_rewrite)
        verdict = max(
            (self.strictness(found) for found in self.findings), key=STRICTNESS.index, default="allow"
        )
        asking = [who for _, _, who in self.findings if who] if verdict == "needs_approval" else []
        return Answer(
            verdict,
            inputs,
            self.price(inputs),
            self.changes,
            [(rule, outcome) for rule, outcome, _ in self.findings],
            [(item.budget, item.scope, item.start, item.end, item.limit, item.unit) for item in allowances],
            list(dict.fromkeys(asking)),
        )

    def breaks(self, never: Mapping[str, Any], answer: Answer) -> Truth:
        """Whether an answer is what a guarantee says that it never is."""
        self.verdict = answer.verdict
        return self.truth(never, answer.inputs)

    def labels_known(self) -> None:
        for name, allowed in (self.data.get("labels") or {}).items():
            if allowed != "any" and self.labels.get(name, allowed[0]) not in allowed:
                self.findings.append((f"label {name}", "label_unknown", ""))

    def strictness(self, finding: tuple[str, str, str]) -> str:
        _, outcome, who = finding
        if outcome in ("rewrite", "downgrade", "allow", "shadow", "budget_warning"):
            return "allow"
        return "needs_approval" if who else "deny"

    def rewrite(self, asked: Inputs, allowed: bool) -> Inputs:
        inputs = dict(asked)
        for rule in self.rewriting:
            truth = self.truth(rule.get("when"), inputs)
            if truth is None:
                self.find(rule, "not_evaluable")
            elif truth and (changed := self.changed(rule, inputs)) != {}:
                inputs = self.apply(rule, changed, inputs, allowed)
        if self.changes and not any(self.strictness(finding) == "deny" for finding in self.findings):
            for rule in self.rewriting:
                again = not rule.get("shadow") and self.truth(rule.get("when"), inputs)
                if again and self.changed(rule, inputs) != {}:
                    self.find(rule, "not_evaluable")
                    break
        return inputs

    @property
    def rewriting(self) -> list[Mapping[str, Any]]:
        return [rule for rule in self.data.get("rules", []) if "rewrite" in rule or "downgrade" in rule]

    def find(self, rule: Mapping[str, Any], outcome: str, who: str = "") -> None:
        """A finding; of a rule in shadow it is only told."""
        self.findings.append(
            (rule["name"], "shadow", "") if rule.get("shadow") else (rule["name"], outcome, who)
        )

    def smaller(self, inputs: Inputs, order: list[str], floor: Mapping[str, Any]) -> list[Inputs]:
        """All that a request may go down to, the best first, found by trying everything there is."""
        now = {**inputs, "generation_mode": self.billed(inputs)}
        found = []
        for values in product(*(LADDERS[name] for name in order)):
            other = {**now, **dict(zip(order, values, strict=True))}
            for name in order:
                rank, least = LADDERS[name].index, floor.get(name, LADDERS[name][0])
                was = now.get(name, STANDARD.get(name))
                if rank(other[name]) > rank(was) or rank(other[name]) < min(rank(least), rank(was)):
                    break
            else:
                for name in order:
                    if name not in inputs and other[name] == STANDARD.get(name):
                        other.pop(name)
                found.append(other)
        return sorted(found, key=lambda other: better(other, order), reverse=True)

    def within(self, inputs: Inputs, amount: Any) -> bool:
        number, unit = str(amount).split() if " " in str(amount) else (amount, "credits")
        return self.value("usd" if unit == "USD" else "credits", inputs) <= Decimal(number)

    def changed(self, rule: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
        """The fields that a rule changes; None where a downgrade finds nothing that fits."""
        found: Inputs = {}
        if "downgrade" in rule:
            down = rule["downgrade"]
            if self.within(inputs, down["at_most"]):
                return found
            for other in self.smaller(inputs, down["give_up_in_order"], down.get("floor", {})):
                if self.within(other, down["at_most"]):
                    return self.steps(inputs, other, down["give_up_in_order"])
            return None
        for name, value in rule["rewrite"].items():
            if value == "absent":
                if name in inputs:
                    found[name] = None
            elif inputs.get(name) != value and self.value(name, inputs) != value:
                found[name] = value
        return found

    def steps(self, inputs: Inputs, other: Inputs, order: list[str]) -> Inputs:
        """What leads from one request to another: a mode that is written out comes first."""
        written = [] if "generation_mode" in inputs else ["generation_mode"]
        names = dict.fromkeys([*written, *order])
        return {name: other[name] for name in names if inputs.get(name) != other.get(name)}

    def receipts(
        self, name: str, changed: Inputs, inputs: Inputs
    ) -> tuple[Inputs, list[tuple[str, Any, Any, str, int]]]:
        receipts, now = [], dict(inputs)
        for field_, value in changed.items():
            before, paid = now.get(field_), self.price(now)
            now = {k: v for k, v in {**now, field_: value}.items() if v is not None}
            shown = (True, False) if field_.endswith("_reference") else (before, value)
            receipts.append((field_, *shown, name, paid - self.price(now)))
        return now, receipts

    def apply(self, rule: Mapping[str, Any], changed: Inputs | None, inputs: Inputs, allowed: bool) -> Inputs:
        if changed is None:
            self.find(rule, "nothing_fits")
            return inputs
        now, receipts = self.receipts(rule["name"], changed, inputs)
        if self.price(now) > self.price(inputs) and not rule.get("may_cost_more"):
            self.find(rule, "costs_more")
        elif rule.get("shadow"):
            self.find(rule, "shadow")
        elif not allowed:
            self.find(rule, "rewrite_refused")
        else:
            self.find(rule, "rewrite" if "rewrite" in rule else "downgrade")
            self.changes += receipts
            return now
        return inputs

    def rules(self, inputs: Inputs) -> None:
        spoken = False
        doubtful: list[Mapping[str, Any]] = []
        for rule in self.data.get("rules", []):
            if rule in self.rewriting:
                continue
            outcome = next(key for key in ("deny", "needs_approval", "allow") if key in rule)
            truth = self.truth(rule.get("when"), inputs)
            if truth:
                self.find(rule, outcome, rule[outcome] if outcome == "needs_approval" else "")
            elif truth is None:
                doubtful.append(rule)
            spoken = spoken or (truth is not False and not rule.get("shadow"))
        for rule in doubtful:
            self.find(rule, "not_evaluable")
        otherwise = self.data["otherwise"]
        if otherwise != "allow" and not spoken:
            who = "" if otherwise == "deny" else otherwise["needs_approval"]
            self.findings.append(("otherwise", "otherwise", who))

    def budgets(self, inputs: Inputs, allowed: bool) -> tuple[Inputs, list[Allowance]]:
        counted, found, tight = self.full(inputs)
        denied = any(self.strictness(finding) == "deny" for finding in self.findings)
        if tight and not denied and all(self.strictness(finding) == "allow" for finding in found):
            if allowed and (smaller := self.go_down(inputs, tight)) is not None:
                return smaller
            found += [(item["name"], "nothing_fits" if allowed else "rewrite_refused", "") for item in tight]
        else:
            found += [(item["name"], "downgrade", "") for item in tight]
        self.findings += found
        return inputs, counted

    def full(
        self, inputs: Inputs
    ) -> tuple[list[Allowance], list[tuple[str, str, str]], list[Mapping[str, Any]]]:
        """The allowances, what the budgets say, and the full ones that let a request go down."""
        counted, found, tight = [], [], []
        for budget in self.data.get("budgets", []):
            if self.truth(budget.get("applies_to"), inputs):
                allowance = self.allowance(budget)
                counted.append(allowance)
                for name, outcome, who in self.budget(budget, allowance, self.price(inputs)):
                    if who == "goes down":
                        tight.append(budget)
                    else:
                        found.append((name, outcome, who))
        return counted, found, tight

    def go_down(
        self, inputs: Inputs, tight: list[Mapping[str, Any]]
    ) -> tuple[Inputs, list[Allowance]] | None:
        """The best of all smaller requests, each asked about anew and as a whole."""
        downs = [budget["when_exhausted"]["downgrade"] for budget in tight]
        order, floor = downs[0]["give_up_in_order"], {}
        for down in downs:
            for name, value in down.get("floor", {}).items():
                floor[name] = max(floor.get(name, value), value, key=LADDERS[name].index)
        for other in self.smaller(inputs, order, floor):
            trial = replace(self, findings=[], changes=[])
            after = trial.rewrite(other, True)
            trial.labels_known()
            trial.rules(after)
            denies = any(trial.strictness(finding) == "deny" for finding in trial.findings)
            if after != other or trial.changes or denies or self.price(other) > self.price(inputs):
                continue
            counted, found, full = trial.full(other)
            if full or any(outcome != "budget_warning" for _, outcome, _ in found):
                continue
            now, receipts = self.receipts(tight[0]["name"], self.steps(inputs, other, order), inputs)
            kept = [item for item in self.findings if item[1] in ("rewrite", "downgrade")]
            went = [(item["name"], "downgrade", "") for item in tight]
            self.findings[:] = [*kept, *went, *trial.findings, *found]
            self.changes += receipts
            return now, counted
        return None

    def budget(
        self, budget: Mapping[str, Any], allowance: Allowance, credits: int
    ) -> list[tuple[str, str, str]]:
        try:
            usage = self.usage(allowance)
        except RuntimeError:
            return [(budget["name"], "not_evaluable", "")]
        amount = credits if allowance.unit == "credits" else credits * (self.rate_microusd or 0)
        after = usage.settled + usage.held + usage.unknown + amount
        most = allowance.limit + usage.granted
        if after > most:
            full = budget.get("when_exhausted", "deny")
            who = "" if full == "deny" else full.get("needs_approval", "goes down")
            return [(budget["name"], "budget_full", who)]
        if any(after >= percent(level) * most for level in budget.get("warn_at", [])):
            return [(budget["name"], "budget_warning", "")]
        return []
