"""The cheapest way to buy a month's credits, compared with asking every plan."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from planner.loading import shipped_credit_plans
from planner.money import CreditPlan, CreditPrice
from planner.purchasing import break_evens, months, supply

PLANS = shipped_credit_plans()
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def cheapest(credits, plans):
    return min(plan.month_usd(credits) for plan in plans.values())


@given(st.integers(0, 60_000))
def test_the_first_one_is_the_cheapest_and_what_is_unused_is_counted(credits):
    """Sorted by what the month costs; own, topped-up and unused credits add up to those that are used."""
    found = months(credits, PLANS)
    assert found[0].usd == cheapest(credits, PLANS)
    assert [month.usd for month in found] == sorted(month.usd for month in found)
    for month in found:
        plan = PLANS[month.plan]
        assert plan.monthly_credits - month.unused_credits + month.topped_up_credits == credits
        assert month.unused_usd == plan.price.usd(month.unused_credits)


def test_what_an_unused_month_costs():
    """A fee for nothing: all own credits expire, and none was bought beyond them."""
    tier = next(month for month in months(0, PLANS) if month.plan == "tier-1")
    assert (tier.usd, tier.unused_credits, tier.per_credit_usd(0)) == (Decimal("19.00"), 282, None)


def plans_of(ladder):
    """Plans in which a higher fee comes with more credits and cheaper ones beyond them."""
    fees, owns, rates = (sorted(values) for values in zip(*ladder, strict=True))
    return {
        f"p{place}": CreditPlan(CreditPrice(f"p{place}", 1), fee, own, CreditPrice("top-up", rate))
        for place, (fee, own, rate) in enumerate(zip(fees, owns, rates[::-1], strict=True))
    }


LADDERS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=4
).map(plans_of)


@given(LADDERS, st.integers(0, 400))
def test_between_two_break_evens_one_plan_is_the_cheapest(plans, credits):
    """For any number of credits the last break-even at or below it names a cheapest plan."""
    evens = break_evens(plans)
    assert evens[0].credits == 0
    name = next(even.plan for even in reversed(evens) if even.credits <= credits)
    assert plans[name].month_usd(credits) == cheapest(credits, plans)


def test_the_shipped_break_evens_are_the_first_credit_that_is_cheaper():
    """One credit less, and the plan before is as cheap."""
    evens = break_evens(PLANS)
    for before, even in pairwise(evens):
        new, old = PLANS[even.plan], PLANS[before.plan]
        assert new.month_usd(even.credits) < old.month_usd(even.credits)
        assert new.month_usd(even.credits - 1) >= old.month_usd(even.credits - 1)


@given(st.integers(0, 5_000), st.integers(0, 500), st.integers(1, 90))
def test_a_supply_that_is_topped_up_lasts(balance, per_day, days):
    """With what is missing it lasts to the end; without, it ends before, and one credit less is too few."""
    until = NOW + timedelta(days=days)
    found = supply(balance, per_day, NOW, until)
    assert found.missing_credits == max(0, per_day * days - balance)
    assert (found.lasts_until is None) == (found.missing_credits == 0)
    if found.lasts_until is not None:
        assert NOW <= found.lasts_until < until
        assert supply(balance + found.missing_credits, per_day, NOW, until).lasts_until is None
