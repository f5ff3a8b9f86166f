"""From the checked shape of a policy file to what the engine decides by.

Here belongs which value of the one becomes which of the other, and the words of a rule that gives no
reason. What may stand in the file belongs to `document`; finding and reading it belongs to `loading`.
"""

from __future__ import annotations

from typing import Final

from policies.budgets import Budget
from policies.compiled import CountedBudget, Label
from policies.decision import Finding, Outcome
from policies.document import ACTIONS, BudgetShape, PolicyShape, RuleShape
from policies.extending import Merged
from policies.guarantees import Guarantee
from policies.rules import Rule

_OUTCOMES: Final = {
    "rewrite": Outcome.REWRITE,
    "downgrade": Outcome.DOWNGRADE,
    "deny": Outcome.DENY,
    "needs_approval": Outcome.NEEDS_APPROVAL,
    "allow": Outcome.ALLOW,
}


def rules(merged: Merged, shape: PolicyShape) -> list[Rule]:
    return [_rule(merged, place, rule) for place, rule in enumerate(shape.rules)]


def budgets(merged: Merged, shape: PolicyShape) -> list[CountedBudget]:
    return [_budget(merged, place, budget) for place, budget in enumerate(shape.budgets)]


def labels(merged: Merged, shape: PolicyShape) -> list[Label]:
    return [Label(name, values, merged.told("labels", name)) for name, values in shape.labels.items()]


def guarantees(merged: Merged, shape: PolicyShape) -> list[Guarantee]:
    return [
        Guarantee(item.name, item.never, item.because or "", merged.told("guarantees", place))
        for place, item in enumerate(shape.guarantees)
    ]


def otherwise(merged: Merged, shape: PolicyShape) -> Finding | None:
    """What is found where no rule speaks; None for `otherwise: allow`."""
    if shape.otherwise == "allow":
        return None
    where = merged.told("otherwise")
    if shape.otherwise == "deny":
        return Finding("otherwise", Outcome.OTHERWISE, "no rule allows such requests", where)
    who = shape.otherwise["needs_approval"]
    return Finding("otherwise", Outcome.OTHERWISE, f"{who} has to approve what no rule allows", where, who)


def _rule(merged: Merged, place: int, rule: RuleShape) -> Rule:
    action = next(key for key in ACTIONS if getattr(rule, key) is not None)
    approver = rule.needs_approval or ""
    finding = Finding(
        rule.name, _OUTCOMES[action], _because(rule, action), merged.told("rules", place), approver
    )
    return Rule(rule.when, finding, rule.rewrite or {}, rule.may_cost_more, rule.downgrade, rule.shadow)


def _because(rule: RuleShape, action: str) -> str:
    """The reason in the rule's own words, or the plainest that can be said."""
    said = [text for text in (rule.deny, rule.allow, rule.because) if text]
    plain = {
        "rewrite": "this rule rewrites such requests",
        "downgrade": "this rule makes such requests smaller",
        "deny": "this rule denies such requests",
        "needs_approval": f"{rule.needs_approval} has to approve such requests",
        "allow": "this rule allows such requests",
    }
    return "; ".join(said) or plain[action]


def _budget(merged: Merged, place: int, shape: BudgetShape) -> CountedBudget:
    full = shape.when_exhausted
    budget = Budget(
        shape.name,
        shape.limit,
        shape.per,
        shape.for_each,
        tuple(sorted(set(shape.warn_at), reverse=True)),
        full if isinstance(full, str) else "",
        merged.told("budgets", place),
        None if isinstance(full, str) else full,
    )
    return CountedBudget(budget, shape.applies_to)
