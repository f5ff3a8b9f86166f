"""What is supposed to be spent: amounts by budget and scope, as `team-month/social: 4990` says it.

Here belong how such amounts are written, what is wrong with one, and which allowances it speaks of. Cases
of a suite and the question *what if* on the command line use it; what was really spent is the ledger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from planner.errors import nearest
from policies.budgets import Allowance, Budget, Unit
from policies.compiled import Label
from policies.engine import Policy
from policies.parsing import Problem, plain
from policies.values import amount_of

Spending = Mapping[str, tuple[Unit, int]]
"""Amounts and their units by the name of a budget, or by budget and scope: `team-month/social`."""

ABSENT: Final = "absent"
"""Stands in a scope for a label that a request does not have."""


def read_spending(data: Mapping[str, Any]) -> tuple[Spending, list[Problem]]:
    """The amounts, and every value that is none.

    >>> read_spending({"team-month/social": 4990, "all": "37.50 USD"})[0]
    {'team-month/social': ('credits', 4990), 'all': ('microusd', 37500000)}
    """
    found, problems = {}, []
    for name, given in data.items():
        amount = amount_of(int(given) if isinstance(given, str) and given.isdecimal() else given)
        if amount is None:
            hint = "use a number of credits, or `37.50 USD`"
            problems.append(Problem((name,), f"`{plain(given)}` is not an amount", hint))
        else:
            found[name] = amount
    return found, problems


def misfits(policy: Policy, spending: Spending) -> list[Problem]:
    """Every amount that speaks of no budget or scope of the policy, or in another unit."""
    budgets = {item.budget.name: item.budget for item in policy.budgets}
    found = []
    for name, (unit, _) in spending.items():
        budget_name, _, scope = name.partition("/")
        budget = budgets.get(budget_name)
        if budget is None:
            guess = nearest(budget_name, tuple(budgets))
            hint = f"did you mean `{guess}`?" if guess else f"known: {', '.join(budgets) or 'none'}"
            found.append(Problem((name,), f"`{budget_name}` is not a budget of the policy", hint))
        elif scope and (hint := _no_scope(policy.labels, budget, scope)):
            found.append(Problem((name,), f"`{scope}` is not a scope of `{budget_name}`", hint))
        elif unit != budget.limit.unit:
            counts, such = ("USD", "37.50 USD") if unit == "credits" else ("credits", "4990")
            found.append(Problem((name,), f"`{budget_name}` counts {counts}", f"write such as `{such}`"))
    return found


def _no_scope(labels: Mapping[str, Label], budget: Budget, scope: str) -> str:
    """What would be right where a budget is not kept apart by that scope; else nothing."""
    names = budget.for_each
    if not names:
        return f"it is one for all: write `{budget.name}`"
    parts = scope.split("/") if names[1:] else [scope]
    if len(parts) != len(names):
        return f"write `{'/'.join((budget.name, *map(str.upper, names)))}`"
    for name, part in zip(names, parts, strict=True):
        known = labels[name].values
        if known is not None and part not in (*known, ABSENT):
            guess = nearest(part, known)
            return f"did you mean `{guess}`?" if guess else f"known: {', '.join((*known, ABSENT))}"
    return ""


def scope_name(allowance: Allowance) -> str:
    """The budget and scope of an allowance in one text.

    >>> from datetime import UTC, datetime
    >>> scope = (("team", "social"), ("stage", None))
    >>> scope_name(Allowance("team-month", scope, datetime(2026, 11, 1, tzinfo=UTC), None, 5, "credits"))
    'team-month/social/absent'
    """
    return "/".join((allowance.budget, *(value or ABSENT for _, value in allowance.scope)))


def spent_in(spending: Spending, allowance: Allowance) -> int | None:
    """What is said to be spent in an allowance: by its scope, else by its budget alone, else nothing."""
    found = spending.get(scope_name(allowance)) or spending.get(allowance.budget)
    return found[1] if found else None
