"""The oracle of law 12: a policy decided by walking its parsed YAML, slowly and in plain sight.

It shares nothing with the engine but the calendar, which has tests of its own: conditions are read
from the raw values, prices from the raw table, and every rule is tried in turn. A truth may be
unknown (None); what is unknown denies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
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
        for name, allowed in (self.data.get("labels") or {}).items():
            if allowed != "any" and self.labels.get(name, allowed[0]) not in allowed:
                self.findings.append((f"label {name}", "label_unknown", ""))
        self.rules(inputs)
        allowances = self.budgets(inputs)
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

    def strictness(self, finding: tuple[str, str, str]) -> str:
        _, outcome, who = finding
        if outcome in ("rewrite", "allow", "budget_warning"):
            return "allow"
        return "needs_approval" if who else "deny"

    def rewrite(self, asked: Inputs, allowed: bool) -> Inputs:
        inputs = dict(asked)
        for rule in self.data.get("rules", []):
            if "rewrite" not in rule:
                continue
            truth = self.truth(rule.get("when"), inputs)
            if truth is None:
                self.findings.append((rule["name"], "not_evaluable", ""))
            elif truth and (changed := self.changed(rule, inputs)):
                inputs = self.apply(rule, changed, inputs, allowed)
        if self.changes:
            for rule in self.data.get("rules", []):
                if "rewrite" in rule and self.truth(rule.get("when"), inputs) and self.changed(rule, inputs):
                    self.findings.append((rule["name"], "not_evaluable", ""))
                    break
        return inputs

    def changed(self, rule: Mapping[str, Any], inputs: Inputs) -> Inputs:
        found = {}
        for name, value in rule["rewrite"].items():
            if value == "absent":
                if name in inputs:
                    found[name] = None
            elif inputs.get(name) != value and self.value(name, inputs) != value:
                found[name] = value
        return found

    def apply(self, rule: Mapping[str, Any], changed: Inputs, inputs: Inputs, allowed: bool) -> Inputs:
        if not allowed:
            self.findings.append((rule["name"], "rewrite_refused", ""))
            return inputs
        receipts, now = [], dict(inputs)
        for name, value in changed.items():
            before, paid = now.get(name), self.price(now)
            now = {**now, name: value} if value is not None else {k: v for k, v in now.items() if k != name}
            shown = (True, False) if name.endswith("_reference") else (before, value)
            receipts.append((name, *shown, rule["name"], paid - self.price(now)))
        if self.price(now) > self.price(inputs) and not rule.get("may_cost_more"):
            self.findings.append((rule["name"], "costs_more", ""))
            return inputs
        self.findings.append((rule["name"], "rewrite", ""))
        self.changes += receipts
        return now

    def rules(self, inputs: Inputs) -> None:
        fired: list[tuple[str, str, str]] = []
        doubtful: list[tuple[str, str, str]] = []
        for rule in self.data.get("rules", []):
            outcome = next(key for key in ("rewrite", "deny", "needs_approval", "allow") if key in rule)
            if outcome == "rewrite":
                continue
            truth = self.truth(rule.get("when"), inputs)
            if truth:
                fired.append((rule["name"], outcome, rule[outcome] if outcome == "needs_approval" else ""))
            elif truth is None:
                doubtful.append((rule["name"], "not_evaluable", ""))
        self.findings += fired + doubtful
        otherwise = self.data["otherwise"]
        if otherwise != "allow" and not fired and not doubtful:
            who = "" if otherwise == "deny" else otherwise["needs_approval"]
            self.findings.append(("otherwise", "otherwise", who))

    def budgets(self, inputs: Inputs) -> list[Allowance]:
        found = []
        for budget in self.data.get("budgets", []):
            if self.truth(budget.get("applies_to"), inputs):
                allowance = self.allowance(budget)
                found.append(allowance)
                self.budget(budget, allowance, self.price(inputs))
        return found

    def budget(self, budget: Mapping[str, Any], allowance: Allowance, credits: int) -> None:
        try:
            usage = self.usage(allowance)
        except RuntimeError:
            self.findings.append((budget["name"], "not_evaluable", ""))
            return
        amount = credits if allowance.unit == "credits" else credits * (self.rate_microusd or 0)
        after = usage.settled + usage.held + usage.unknown + amount
        most = allowance.limit + usage.granted
        if after > most:
            full = budget.get("when_exhausted", "deny")
            self.findings.append(
                (budget["name"], "budget_full", "" if full == "deny" else full["needs_approval"])
            )
        elif any(after >= percent(level) * most for level in budget.get("warn_at", [])):
            self.findings.append((budget["name"], "budget_warning", ""))
