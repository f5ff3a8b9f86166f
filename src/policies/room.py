"""Whether all budgets that a request counts in take it without a word, as they nearly always do.

Here belongs that quick answer and nothing else. What is said where a budget is full, where it is used up to
a level at which it warns, or where it cannot be judged, belongs to `trial`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from planner.errors import OperatorError
from policies.budgets import Allowance, AskUsage, Budget, Usage


class Bound(NamedTuple):
    """Up to where one budget is silent."""

    limit: int
    per_credit: int
    """What a credit takes, in the unit of the limit."""
    part: int
    whole: int
    """It warns from `part / whole` of the limit on; never where `whole` is 0."""

    @classmethod
    def of(cls, budget: Budget, allowance: Allowance, rate_microusd: int | None) -> Self:
        """Raises `ValueError` for a budget in USD where the rate of a credit is not known."""
        part, whole = min(budget.warn_at).as_integer_ratio() if budget.warn_at else (0, 0)
        return cls(allowance.limit, allowance.amount(1, rate_microusd), part, whole)

    def silent_up_to(self, granted: int) -> int:
        """The most that may be used, a request included, without a word; -1 where it always speaks."""
        most = self.limit + granted
        return min(most, -(-self.part * most // self.whole) - 1) if self.whole else most


class Room:
    """The allowances that a request counts in, in the order of the file."""

    __slots__ = ("_bounded", "allowances", "bounds")

    def __init__(self, allowances: Sequence[Allowance], bounds: Sequence[Bound] | None) -> None:
        self.allowances = tuple(allowances)
        self.bounds = bounds
        """None where there is no quick answer."""
        self._bounded = None if bounds is None else tuple(zip(self.allowances, bounds, strict=True))

    def spoken(self, credits: int, ask: AskUsage) -> list[Usage] | None:
        """None where every budget takes that many credits without a word.

        Else what is used of the first ones, up to the one that has something to say or cannot be asked;
        `OperatorError` passes through.
        """
        used: list[Usage] = []
        if self._bounded is None:
            return used
        try:
            for allowance, (limit, per_credit, part, whole) in self._bounded:
                usage = ask(allowance)
                used.append(usage)
                most = limit + usage.granted
                after = usage.settled + usage.held + usage.unknown + credits * per_credit
                if after > most or (whole and after * whole >= part * most):
                    return used
        except OperatorError:
            raise
        except Exception:
            return used
        return None
