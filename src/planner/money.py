"""What a credit costs in money: plans, an own figure, and exact amounts in whole micro-dollars.

Here belongs everything that turns credits into USD. Money is `Decimal` outside and whole
micro-dollars (`_microusd`, int) where it is stored; a float is refused. Which plan is worth buying
belongs to the planner's later rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from planner.errors import InputError, nearest

MICRO: Final = 1_000_000
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class CreditPrice:
    """What one credit costs, with the name a person would use for it."""

    name: str
    rate_microusd: int
    """Whole micro-dollars per credit."""

    @property
    def usd_per_credit(self) -> Decimal:
        """The rate as the provider prints it, with four decimals or more: `0.0750`."""
        exact = Decimal(self.rate_microusd) / MICRO
        return exact if exact != exact.quantize(Decimal("0.0001")) else exact.quantize(Decimal("0.0001"))

    def usd(self, credits: int) -> Decimal:
        """What that many credits cost, exactly.

        >>> CreditPrice("on-demand", 75_000).usd(14)
        Decimal('1.05')
        """
        return usd_from_micro(credits * self.rate_microusd)


@dataclass(frozen=True, slots=True)
class CreditPlan:
    """One of the provider's ways to buy credits, billed monthly."""

    price: CreditPrice
    """What a credit costs under the plan."""
    monthly_microusd: int
    monthly_credits: int
    top_up: CreditPrice
    """What a credit beyond the month's own costs."""

    def month_usd(self, credits: int) -> Decimal:
        """What a month with that many credits costs in all, the fee included.

        >>> tier = CreditPlan(CreditPrice("t", 67_400), 19_000_000, 282, CreditPrice("t top-up", 67_500))
        >>> tier.month_usd(100), tier.month_usd(382)
        (Decimal('19.00'), Decimal('25.75'))
        """
        beyond = max(0, credits - self.monthly_credits)
        return usd_from_micro(self.monthly_microusd + beyond * self.top_up.rate_microusd)


def usd_from_micro(microusd: int) -> Decimal:
    """Whole micro-dollars as dollars: cents at least, and every further digit that is not zero.

    >>> str(usd_from_micro(75_000)), str(usd_from_micro(1_500_000))
    ('0.075', '1.50')
    """
    exact = (Decimal(microusd) / MICRO).normalize()
    return exact.quantize(_CENT) if exact == exact.quantize(_CENT) else exact


def micro_from_usd(usd: Decimal) -> int:
    """Dollars as whole micro-dollars; more than six decimals are refused, never rounded.

    >>> micro_from_usd(Decimal("0.0674"))
    67400
    """
    micro = usd * MICRO
    if micro != micro.to_integral_value():
        raise InputError(f"`{usd}` USD has more than six decimals", hint="use whole micro-dollars")
    return int(micro)


def credit_price(text: str, plans: Mapping[str, CreditPlan]) -> CreditPrice:
    """A credit price from what a person typed: the name of a plan, or dollars per credit.

    >>> credit_price("0.041", {}).usd(100)
    Decimal('4.10')
    """
    wanted = text.strip().lower()
    if wanted in plans:
        return plans[wanted].price
    try:
        rate = Decimal(wanted.removeprefix("$"))
    except InvalidOperation:
        guess = nearest(wanted, tuple(plans))
        hint = f"did you mean `{guess}`? " if guess else ""
        raise _refused(text, f"{hint}use {', '.join(plans)} or a figure such as 0.041") from None
    if not rate.is_finite() or not 0 < rate < 1000:
        raise _refused(text, "use dollars per credit above 0, such as 0.041")
    return CreditPrice(wanted.removeprefix("$"), micro_from_usd(rate))


def _refused(text: str, hint: str) -> InputError:
    return InputError(f"`{text}` is not a credit price", code="bad_credit_price", hint=hint)
