"""Which way to buy credits is the cheapest for a month, from where on, and when to buy more.

Here belong comparisons over the provider's plans; what a credit costs under one belongs to `money`. All
figures are exact. Not known and left out: discounts for a year, taxes, and packs larger than what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from planner.money import CreditPlan, usd_from_micro

MOST_CREDITS: Final = 10_000_000
"""Beyond this many credits a month no break-even is looked for."""


@dataclass(frozen=True, slots=True)
class Month:
    """What a month with so many credits costs under one plan."""

    plan: str
    usd: Decimal
    """The fee and what is bought beyond it."""
    topped_up_credits: int
    """Bought beyond the plan's own."""
    unused_credits: int
    """The plan's own that expire unused at the end of the month."""
    unused_usd: Decimal
    """What those have cost, at the plan's rate."""

    def per_credit_usd(self, credits: int) -> Decimal | None:
        """What each of the credits that are used really costs, to a hundredth of a cent."""
        return (self.usd / credits).quantize(Decimal("0.0001")) if credits else None

    def as_json(self, credits: int) -> dict[str, Any]:
        each = self.per_credit_usd(credits)
        return {
            "plan": self.plan,
            "usd": str(self.usd),
            "usd_per_used_credit": None if each is None else str(each),
            "topped_up_credits": self.topped_up_credits,
            "unused_credits": self.unused_credits,
            "unused_usd": str(self.unused_usd),
        }


def months(credits: int, plans: Mapping[str, CreditPlan]) -> tuple[Month, ...]:
    """What a month with so many credits costs under each plan, the cheapest first.

    >>> from planner.loading import shipped_credit_plans
    >>> [(month.plan, str(month.usd)) for month in months(300, shipped_credit_plans())][:2]
    [('tier-1', '20.215'), ('on-demand', '22.50')]
    """
    return tuple(sorted((_month(credits, plan) for plan in plans.values()), key=lambda month: month.usd))


def _month(credits: int, plan: CreditPlan) -> Month:
    unused = max(0, plan.monthly_credits - credits)
    return Month(
        plan=plan.price.name,
        usd=plan.month_usd(credits),
        topped_up_credits=max(0, credits - plan.monthly_credits),
        unused_credits=unused,
        unused_usd=usd_from_micro(unused * plan.price.rate_microusd),
    )


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many credits a month on a plan is the cheapest."""

    plan: str
    credits: int


def break_evens(plans: Mapping[str, CreditPlan]) -> tuple[BreakEven, ...]:
    """The cheapest plan by credits a month, each from the first number of credits for which it is.

    >>> from planner.loading import shipped_credit_plans
    >>> [(found.plan, found.credits) for found in break_evens(shipped_credit_plans())]
    [('on-demand', 0), ('tier-1', 254), ('tier-2', 3690), ('tier-3', 20817)]
    """
    ladder = sorted(plans.values(), key=lambda plan: (plan.monthly_microusd, plan.top_up.rate_microusd))
    found = [(ladder[0], 0)]
    for plan in ladder[1:]:
        start = _first_cheaper(plan, found[-1][0])
        while start is not None and len(found) > 1 and start <= found[-1][1]:
            found.pop()  # the plan before is never the cheapest
            start = _first_cheaper(plan, found[-1][0])
        if start is not None:
            found.append((plan, start))
    return tuple(BreakEven(plan.price.name, credits) for plan, credits in found)


def _first_cheaper(plan: CreditPlan, other: CreditPlan) -> int | None:
    """The fewest credits for which `plan` is cheaper; its fee is higher, and each credit beyond is not."""
    low, high = 0, MOST_CREDITS
    if plan.month_usd(high) >= other.month_usd(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if plan.month_usd(middle) < other.month_usd(middle):
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True, slots=True)
class Supply:
    """How long a balance lasts, and what is missing until an instant."""

    lasts_until: datetime | None
    """None where it lasts beyond `until`."""
    missing_credits: int


def supply(balance: int, credits_per_day: int, now: datetime, until: datetime) -> Supply:
    """When a balance is used up at an even pace, and how many credits are missing then until `until`.

    >>> from datetime import UTC
    >>> start = datetime(2026, 11, 20, tzinfo=UTC)
    >>> found = supply(100, 40, start, start + timedelta(days=10))
    >>> found.lasts_until.isoformat(), found.missing_credits
    ('2026-11-22T12:00:00+00:00', 300)
    """
    day_us = timedelta(days=1) // timedelta(microseconds=1)
    need = -(-credits_per_day * ((until - now) // timedelta(microseconds=1)) // day_us)
    if need <= balance:
        return Supply(None, 0)
    return Supply(now + timedelta(microseconds=max(0, balance) * day_us // credits_per_day), need - balance)
