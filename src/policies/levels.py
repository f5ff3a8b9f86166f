"""How full budgets are while rows go by: what the ledger counts, and what the rows before hold.

Here belongs that arithmetic, kept in lists because a million rows add to it. Which rows count where is
decided by `columns`; what a budget says belongs to `trial`.
"""

from __future__ import annotations

from typing import Final

from planner.errors import OperatorError
from policies.budgets import Allowance, AskUsage, Usage
from policies.room import Bound

Entry = tuple[int, int]
"""The number of a level, and an amount in the unit of its allowance."""

NEVER_SILENT: Final = 0
"""The number of a level that is full from the beginning."""


class Levels:
    """One level for each allowance. The ledger is asked once, when the first request counts there."""

    def __init__(self, ask: AskUsage) -> None:
        self.used: list[int] = [0]
        self.silent: list[int] = [-1]
        """Up to where, a request included, a budget has nothing to say."""
        self.most: list[int] = [-1]
        """Up to where it is not full."""
        self._ask = ask
        self._numbers: dict[Allowance, int] = {}
        self._before: dict[int, Usage | None] = {}
        """What the ledger counts where it was asked; None where that cannot be told."""

    def number(self, allowance: Allowance) -> int:
        """The number of an allowance's level, of which the ledger may not have been asked yet."""
        found = self._numbers.get(allowance)
        if found is None:
            found = self._numbers[allowance] = len(self.used)
            self.used.append(0)
            self.silent.append(-1)
            self.most.append(-1)
        return found

    def asked(self, allowance: Allowance, bound: Bound | None = None) -> int:
        """The same, with the ledger asked; without a bound its budget always has something to say."""
        number = self.number(allowance)
        if number not in self._before:
            usage = self._before[number] = self._counts(allowance)
            if usage is not None:
                self.used[number] = usage.used
                self.most[number] = allowance.limit + usage.granted
        known = self._before[number]
        if bound is not None and known is not None:
            self.silent[number] = bound.silent_up_to(known.granted)
        return number

    def _counts(self, allowance: Allowance) -> Usage | None:
        try:
            return self._ask(allowance)
        except OperatorError:
            raise
        except Exception:
            return None

    def usage(self, allowance: Allowance) -> Usage:
        """What is used now; raises `LookupError` where it cannot be told."""
        number = self.asked(allowance)
        before = self._before[number]
        if before is None:
            raise LookupError(allowance.budget)
        return Usage(held=self.used[number], granted=before.granted)

    def held(self) -> dict[Allowance, int]:
        """What the rows hold together, of each allowance of which they hold something."""
        found = {}
        for allowance, number in self._numbers.items():
            before = self._before.get(number)
            if more := self.used[number] - (before.used if before else 0):
                found[allowance] = more
        return found
