"""A policy's rules and budgets, compiled once: what single decisions, columns and proofs evaluate.

Here belongs what a policy is made of when it is asked. How it is asked belongs to `ruling`, `trial` and
`engine`; how it is read from a file belongs to `loading`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from planner.latency import LatencyProfile
from planner.prices import PriceEntry
from policies.budgets import Allowance, Budget, Calendar
from policies.conditions import SENT, USED, Condition
from policies.decision import Finding, Outcome
from policies.matching import Column, Matcher
from policies.rules import Facts, Rule, reader

REWRITING: Final = (Outcome.REWRITE, Outcome.DOWNGRADE)
CLOCK: Final = ("time", "weekday")


@dataclass(frozen=True, slots=True)
class Label:
    """A declared label; `values` is None where any text may stand."""

    name: str
    values: tuple[str, ...] | None
    where: str


@dataclass(frozen=True, slots=True)
class CountedBudget:
    """A budget and the requests that count in it; None counts all."""

    budget: Budget
    applies_to: Condition | None


class Compiled:
    """Rules that rewrite, rules that judge and budgets, each behind a matcher."""

    def __init__(
        self,
        *,
        digest: str,
        zone: ZoneInfo,
        labels: Sequence[Label],
        budgets: Sequence[CountedBudget],
        rules: Sequence[Rule],
        otherwise: Finding | None,
        enforced: bool,
        rate_microusd: int | None,
        latency: LatencyProfile | None,
    ) -> None:
        self.digest = digest
        self.zone = zone
        self.labels = {label.name: label for label in labels}
        self.budgets = tuple(budgets)
        self.otherwise = otherwise
        """What is found where no other rule speaks; None where the policy says `otherwise: allow`."""
        self.enforced = enforced
        self.rate_microusd = rate_microusd
        """What a credit costs, in whole micro-dollars, where the policy says so."""
        self.settled: frozenset[PriceEntry] = frozenset()
        """The price entries for which the rewriting rules are known to be stable and not to cost more."""
        self.calendar = Calendar(zone)
        self.rewrites = tuple(rule for rule in rules if rule.finding.outcome in REWRITING)
        self.judges = tuple(rule for rule in rules if rule.finding.outcome not in REWRITING)

        self._latency = latency
        self.rewrite_matcher = self.matcher(rule.when for rule in self.rewrites)
        self.judge_matcher = self.matcher(rule.when for rule in self.judges)
        self.budget_matcher = self.matcher(item.applies_to for item in self.budgets)
        self._used = {
            item.budget.name: [column for column in self.columns() if column.name == USED + item.budget.name]
            for item in self.budgets
        }
        self.read = frozenset(column.name.removeprefix(SENT) for column in self.columns())
        """The attributes that conditions read, a used share under its own name."""
        self.reads_usage = any(name.startswith(USED) for name in self.read)
        self._clock = [column for column in self.columns() if column.name in CLOCK]
        minutes = {
            minute % 1440 for column in self._clock if column.name == "time" for minute in column.values()
        }
        self.edges = (*sorted({0, *minutes}), 1440)
        """The minutes of a day from which on the clock may read otherwise, both midnights included."""

    def matcher(self, conditions: Iterable[Condition | None]) -> Matcher:
        """Conditions in their order, compiled for this policy's zone and latency profile."""
        return Matcher([*conditions], lambda column: reader(column, self.zone, self._latency))

    def columns(self) -> Iterator[Column]:
        """Every column that a condition reads."""
        for matcher in (self.rewrite_matcher, self.judge_matcher, self.budget_matcher):
            yield from matcher.columns

    @property
    def reads_clock(self) -> bool:
        return bool(self._clock)

    def clock(self, at: datetime) -> Hashable:
        """Equal for instants between which no condition on the time or the weekday can tell."""
        facts = Facts({}, "", 0, None, {}, at)
        return tuple(column.mask(column.read(facts)) for column in self._clock)

    def share_cell(self, budget: str, part: int, whole: int) -> Hashable:
        """Equal for used shares of a budget between which no condition can tell."""
        return tuple(column.mask_of_share(part, whole) for column in self._used[budget])

    def counted(self, facts: Facts) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The places of the budgets that a request counts in, and those of them in doubt.

        A budget of which it cannot be told is among them: what may count is counted.
        """
        counted, doubtful = self.budget_matcher.match(facts)
        return tuple(sorted((*counted, *doubtful))), tuple(doubtful)

    def allowance(self, place: int, labels: Mapping[str, str], at: datetime) -> Allowance:
        """The allowance of the budget at that place of the file."""
        return self.budgets[place].budget.allowance(labels, at, self.calendar, self.enforced)
