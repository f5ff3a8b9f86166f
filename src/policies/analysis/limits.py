"""What changes about budgets between two policies, in words, and whether it lets more through.

Here belong limits as people read them and what sets two budgets apart. What that means for requests
belongs to `cells`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.money import usd_from_micro
from policies.budgets import Budget, Limit
from policies.compiled import CountedBudget
from policies.engine import Policy


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """What changes about one budget."""

    name: str
    words: str
    looser: bool
    """Whether it lets more through, or may do so."""

    def __str__(self) -> str:
        return self.words


def budget_changes(before: Policy, after: Policy) -> Iterator[BudgetChange]:
    """Every budget that goes, changes or comes, in the order of the earlier policy, then of the later."""
    old = {item.budget.name: item for item in before.budgets}
    new = {item.budget.name: item for item in after.budgets}
    for name, item in old.items():
        if name not in new:
            yield BudgetChange(name, f"`{name}` is gone: {_told(item.budget)}", True)
        elif changes := list(_changes(item, new[name])):
            yield BudgetChange(name, f"`{name}`: {'; '.join(changes)}", _is_looser(item, new[name]))
    for name, item in new.items():
        if name not in old:
            yield BudgetChange(name, f"`{name}` is new: {_told(item.budget)}", False)


def _told(budget: Budget) -> str:
    return f"{limit_text(budget)}, then {_full(budget)}"


def limit_text(budget: Budget) -> str:
    """What a budget lets through: `5,000 credits per month for each team`."""
    each = f" for each {' and '.join(budget.for_each)}" if budget.for_each else ""
    per = "in all" if budget.per == "total" else f"per {budget.per}"
    return f"{_limit(budget.limit)} {per}{each}"


def _changes(before: CountedBudget, after: CountedBudget) -> Iterator[str]:
    old, new = before.budget, after.budget
    for what, was, now in (
        ("limit", _limit(old.limit), _limit(new.limit)),
        ("per", old.per, new.per),
        ("for each", ", ".join(old.for_each) or "nothing", ", ".join(new.for_each) or "nothing"),
        ("when exhausted", _full(old), _full(new)),
    ):
        if was != now:
            yield f"{what} {was} → {now}"
    if before.applies_to != after.applies_to:
        yield "what counts in it changes"


def _is_looser(before: CountedBudget, after: CountedBudget) -> bool:
    """Whether the later budget may let something through that the earlier one did not."""
    old, new = before.budget, after.budget
    if (before.applies_to, old.per, old.for_each) != (after.applies_to, new.per, new.for_each):
        return True
    values = {*(old.limit.by_value or {}), *(new.limit.by_value or {}), None}
    more = old.limit.unit != new.limit.unit or any(
        new.limit.of(value) > old.limit.of(value) for value in values
    )
    return more or _strictness(new) < _strictness(old)


def _strictness(budget: Budget) -> int:
    """How hard a full budget is: it denies, asks somebody, or lets requests go down."""
    return 0 if budget.downgrade else 1 if budget.approver else 2


def _limit(limit: Limit) -> str:
    def amount(number: int) -> str:
        if limit.unit == "credits":
            return f"{number:,} credit{'s' * (number != 1)}"
        return f"{usd_from_micro(number)} USD"

    if limit.by_value is None:
        return amount(limit.otherwise)
    parts = [f"{value} {amount(number)}" for value, number in limit.by_value.items()]
    return ", ".join([*parts, f"otherwise {amount(limit.otherwise)}"])


def _full(budget: Budget) -> str:
    if budget.downgrade:
        return "go down in " + ", ".join(budget.downgrade.order)
    return f"ask {budget.approver}" if budget.approver else "deny"
