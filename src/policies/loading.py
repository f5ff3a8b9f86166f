"""The edge that reads policies: from a text, a file, or the library that comes with the package.

Here belongs the way from a checked document to a compiled `Policy`. What may stand in a policy file
belongs to `document`; what it does belongs to `engine`.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from planner.errors import ConfigError, Fault, InputError, nearest
from planner.latency import LatencyProfile
from planner.loading import (
    Document,
    read_text,
    read_yaml,
    shipped_credit_plans,
    shipped_latency,
    shipped_prices,
)
from planner.money import CreditPrice, credit_price
from policies.budgets import Budget
from policies.decision import Finding, Outcome
from policies.document import ACTIONS, BudgetShape, PolicyShape, RuleShape, read_policy
from policies.engine import CountedBudget, Label, Policy
from policies.rules import Rule
from policies.shapes import line_of
from policies.stability import examine

_OUTCOMES: Final = {
    "rewrite": Outcome.REWRITE,
    "deny": Outcome.DENY,
    "needs_approval": Outcome.NEEDS_APPROVAL,
    "allow": Outcome.ALLOW,
}


def load_policy(path: str | Path) -> Policy:
    """The policy in a file, or the shipped one of that name.

    Raises `ConfigError` with every fault of the file and `InputError` when it cannot be read.

    >>> load_policy("starter").name
    'starter'
    """
    text, name = policy_text(path)
    return parse_policy(text, name)


def policy_text(path: str | Path) -> tuple[str, str]:
    """The text of a policy file or of a shipped policy, and the name for its faults."""
    if isinstance(path, str) and path in shipped_policies() and not Path(path).is_file():
        return _shipped(path, "policy.yaml"), f"{path}/policy.yaml"
    if not Path(path).exists():
        guess = nearest(str(path), shipped_policies())
        shipped = f"`{guess}`" if guess else ", ".join(shipped_policies())
        raise InputError(
            f"there is no policy `{path}`", code="no_policy", hint=f"name a file or a shipped one: {shipped}"
        )
    return read_text(Path(path)), str(path)


@lru_cache(maxsize=1)
def shipped_policies() -> tuple[str, ...]:
    """The names of the policies that come with the package."""
    library = files("policies") / "library"
    return tuple(sorted(item.name for item in library.iterdir() if (item / "policy.yaml").is_file()))


def shipped_suite(name: str) -> Document:
    """The suite beside a shipped policy."""
    return read_yaml(_shipped(name, "suite.yaml"), f"{name}/suite.yaml")


def _shipped(name: str, file: str) -> str:
    return (files("policies") / "library" / name / file).read_text("utf-8")


def parse_policy(text: str, name: str) -> Policy:
    """The policy in a text; raises `ConfigError` with every fault, each with file, line and hint."""
    document = read_yaml(text, name)
    shape, faults = read_policy(document)
    raw = document.data if isinstance(document.data, dict) else {}
    price = _priced(document, raw.get("credit_price"), faults)
    latency = _timed(document, raw.get("latency_profile"), faults)
    if shape is None or faults:
        raise ConfigError(faults=sorted(faults, key=line_of))
    rules = [_rule(document, place, rule) for place, rule in enumerate(shape.rules)]
    stability = examine(rules, shape.labels, shape.timezone, latency, price, shipped_prices().entries)
    if stability.faults:
        raise ConfigError(faults=stability.faults)
    return Policy(
        name=shape.name,
        digest=_digest(document.data),
        text=text,
        zone=shape.timezone,
        labels=[
            Label(label, values, _where(document, "labels", label)) for label, values in shape.labels.items()
        ],
        budgets=[_budget(document, place, budget) for place, budget in enumerate(shape.budgets)],
        rules=rules,
        otherwise=_otherwise(document, shape),
        enforced=shape.enforcement == "on",
        credit_price=price,
        latency=latency,
        settled=stability.settled,
    )


def _digest(data: Any) -> str:
    """SHA-256 of the values alone: comments, order of keys and formatting do not change it."""
    canonical = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _where(document: Document, *place: str | int) -> str:
    """Where findings say that something stands: the file's own name, wherever the file lies."""
    return document.where(place).replace("\\", "/").rpartition("/")[2]


def _priced(document: Document, given: Any, faults: list[Fault]) -> CreditPrice | None:
    if given is None:
        return None
    try:
        return credit_price(str(given), shipped_credit_plans())
    except InputError as error:
        fault = error.faults[0]
        faults.append(Fault("policy", fault.message, document.where(("credit_price",)), hint=fault.hint))
        return None


def _timed(document: Document, given: Any, faults: list[Fault]) -> LatencyProfile | None:
    if given is None:
        return None
    profile = shipped_latency()
    if given != profile.name:
        message = f"`{given}` is not a latency profile"
        hint = f"use {profile.name}"
        faults.append(Fault("policy", message, document.where(("latency_profile",)), hint=hint))
        return None
    return profile


def _rule(document: Document, place: int, rule: RuleShape) -> Rule:
    action = next(key for key in ACTIONS if getattr(rule, key) is not None)
    approver = rule.needs_approval or ""
    finding = Finding(
        rule.name, _OUTCOMES[action], _because(rule, action), _where(document, "rules", place), approver
    )
    return Rule(rule.when, finding, rule.rewrite or {}, rule.may_cost_more)


def _because(rule: RuleShape, action: str) -> str:
    """The reason in the rule's own words, or the plainest that can be said."""
    said = [text for text in (rule.deny, rule.allow, rule.because) if text]
    plain = {
        "rewrite": "this rule rewrites such requests",
        "deny": "this rule denies such requests",
        "needs_approval": f"{rule.needs_approval} has to approve such requests",
        "allow": "this rule allows such requests",
    }
    return "; ".join(said) or plain[action]


def _otherwise(document: Document, shape: PolicyShape) -> Finding | None:
    if shape.otherwise == "allow":
        return None
    where = _where(document, "otherwise")
    if shape.otherwise == "deny":
        return Finding("otherwise", Outcome.OTHERWISE, "no rule allows such requests", where)
    who = shape.otherwise["needs_approval"]
    return Finding("otherwise", Outcome.OTHERWISE, f"{who} has to approve what no rule allows", where, who)


def _budget(document: Document, place: int, shape: BudgetShape) -> CountedBudget:
    budget = Budget(
        shape.name,
        shape.limit,
        shape.per,
        shape.for_each,
        tuple(sorted(set(shape.warn_at), reverse=True)),
        shape.when_exhausted,
        _where(document, "budgets", place),
    )
    return CountedBudget(budget, shape.applies_to)
