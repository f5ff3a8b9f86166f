"""How much one run may spend by itself: `--max-credits`, counted before anything is sent.

Here belongs the sum over what this run has sent or is about to send. Budgets belong to the policy.
"""

from __future__ import annotations

from policies.decision import Verdict
from policies.guard.batch import Line
from policies.guard.guard import Guard


class Purse:
    """What a run has committed; without a limit it never runs dry."""

    def __init__(self, guard: Guard, most_credits: int | None) -> None:
        self._guard = guard
        self._most_credits = most_credits
        self._committed: dict[str, int] = {}

    def takes(self, line: Line) -> bool:
        """Commit what a line will cost, if that keeps within the limit; raises what the ledger raises."""
        if self._most_credits is None or line.request is None:
            return True
        decision = self._guard.check(line.request, line.labels)
        cost = decision.credits if decision.verdict is Verdict.ALLOW else 0
        if sum(self._committed.values()) + cost > self._most_credits:
            return False
        self._committed[line.key] = cost
        return True

    def settle(self, line: Line) -> None:
        """Count what a line cost or may have cost, now that this is known."""
        self._committed[line.key] = 0 if line.reused else line.credits
