"""Where requests can end: every final request and verdict that a policy can reach in a context.

Here belong the rules' verdict on each request of the space and what budgets can make of it, with amounts
spent that lead there. Rewriting is worked out by `passes`; what is concluded belongs to `proof`, `lint`
and `diff`.

Budgets that let a request go down need no case of their own: what it goes down to is left as it is by
the rules and fits its budgets, so it is reached as well by asking for it. Only where nothing fits do
they end in a denial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Final

from planner.prices import PriceBook, PriceEntry
from policies.compiled import Compiled
from policies.contexts import Context, TooLarge
from policies.decision import Outcome, Verdict
from policies.downgrading import NO_FLOOR, candidates, together
from policies.matching import Matcher
from policies.passes import BUDGETS, REWRITES, Passed, Passes, Variant
from policies.space import Space
from policies.spans import Span

JUDGES: Final = 2
GUARANTEES: Final = 3
"""Which matcher of a space is which, besides those of `passes`."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A verdict that a final request can come to, and amounts spent that lead there."""

    verdict: Verdict
    spent: Mapping[int, int]
    """What is spent by the place of the budget, in its unit; nothing of the others."""


def space_of(policy: Compiled, guarantees: Matcher | None = None) -> Space:
    """The space of a whole policy: its rules, its budgets and what is guaranteed."""
    matchers = [policy.rewrite_matcher, policy.budget_matcher, policy.judge_matcher]
    matchers += [guarantees] if guarantees else []
    return Space([policy], matchers, limits=True)


@dataclass(frozen=True, slots=True)
class Case:
    """A context, with what is spent of the budgets whose share somebody reads."""

    context: Context
    variant: Variant
    spans: Mapping[int, Span]
    passed: Passed


def entries(book: PriceBook, now: datetime) -> list[tuple[PriceEntry, datetime]]:
    """Every price entry in force at an instant or later, each with the first instant that is left of it.

    Raises `NoPrice` where there is none.
    """
    left = [entry for entry in book.entries if entry.end is None or entry.end > now]
    return [(entry, max(now, entry.start)) for entry in left or [book.entry_at(now)]]


def visit(space: Space, book: PriceBook, now: datetime, most_cells: int) -> Iterator[tuple[Reach, Case]]:
    """Every case of a space under every price entry in force now or later.

    Raises `NoPrice` where there is none, and `TooLarge` past so many cells.
    """
    cells = 0
    for entry, since in entries(book, now):
        reach = Reach(space, entry)
        for case in reach.cases(space.contexts(most_cells, since, entry.end)):
            cells += len(space.requests)
            if cells > most_cells:
                raise TooLarge(f"{most_cells:,} cells")
            yield reach, case


class Reach:
    """The verdicts that a policy can come to under one price entry."""

    def __init__(self, space: Space, entry: PriceEntry) -> None:
        self.space = space
        self.policy = space.policy
        self.passes = Passes(space, entry)
        self.budgets = self.policy.budgets
        matcher, judges = space.matchers[JUDGES], self.policy.judges
        self._denying = self._asking = self._speaking = 0
        for turn, rule in enumerate(judges):
            if not rule.shadow:
                self._speaking |= matcher.span(turn)
                self._denying |= matcher.span(turn) * (rule.finding.outcome is Outcome.DENY)
                self._asking |= matcher.span(turn) * (rule.finding.outcome is Outcome.NEEDS_APPROVAL)

    def cases(self, contexts: Sequence[Context]) -> Iterator[Case]:
        """Every context with every way in which what is used can be told apart."""
        for context in contexts:
            for variant, spans in self.passes.variants(context):
                yield Case(context, variant, spans, self.passes.run(variant, context.masks[REWRITES]))

    def fires(self, case: Case, place: int) -> int:
        """The clauses of the judging rules that hold for a request."""
        return case.variant.masks[JUDGES][place] & case.context.masks[JUDGES]

    def verdict(self, case: Case, place: int) -> Verdict:
        """What labels and rules say to a request that no rule rewrites any more."""
        fired = self.fires(case, place)
        if case.context.unlisted[0] or fired & self._denying:
            return Verdict.DENY
        if fired & self._asking:
            return Verdict.NEEDS_APPROVAL
        if self.policy.otherwise and not fired & self._speaking:
            return self.policy.otherwise.verdict
        return Verdict.ALLOW

    def counted(self, case: Case, place: int) -> list[int]:
        """The budgets that a request counts in, by their places."""
        held = self.passes.masks[BUDGETS][place] & case.context.masks[BUDGETS]
        return self.space.matchers[BUDGETS].owners(held)

    def decided(self, case: Case, start: int) -> tuple[Verdict, int, tuple[int, ...]]:
        """What becomes of a request with nothing spent: verdict, final request and the full budgets."""
        place = case.passed.places[start]
        verdict = Verdict.DENY if case.passed.is_stopped(start) else self.verdict(case, place)
        if verdict is Verdict.DENY:
            return verdict, place, ()
        full = tuple(budget for budget in self.counted(case, place) if not self._fit(case, {}, place, budget))
        deny, ask, down = self._by_answer(full)
        if deny:
            return Verdict.DENY, place, full
        if ask:
            return Verdict.NEEDS_APPROVAL, place, full
        if down:
            fitting = self._fitting(case, {}, self._candidates(case, place, down))
            return (
                (self.verdict(case, fitting[0]), fitting[0], full) if fitting else (Verdict.DENY, place, full)
            )
        return verdict, place, full

    # -- what budgets make of it -----------------------------------------------------------------

    def ending(self, case: Case, place: int, wanted: Verdict) -> Ending | None:
        """How a request that the rules leave as it is can come to a verdict; None where it cannot."""
        verdict = self.verdict(case, place)
        if verdict is Verdict.DENY:
            return Ending(verdict, self.least(case)) if wanted is verdict else None
        counted, credits = self.counted(case, place), self.passes.credits[place]
        found = self._spent(case, {}, dict.fromkeys(counted, credits)) if wanted is verdict else None
        if found is None and wanted is not Verdict.ALLOW:
            found = self._full(case, place, counted, wanted)
        return None if found is None else Ending(wanted, found)

    def _full(self, case: Case, place: int, counted: Sequence[int], wanted: Verdict) -> dict[int, int] | None:
        """Amounts spent with which full budgets deny, or ask; None where there are none."""
        credits = self.passes.credits[place]
        deny, ask, down = self._by_answer(counted)
        others = dict.fromkeys(deny, credits) if wanted is Verdict.NEEDS_APPROVAL else {}
        for budget in ask if wanted is Verdict.NEEDS_APPROVAL else deny:
            if (found := self._spent(case, {budget: credits}, others)) is not None:
                return found
        return self._stuck(case, place, counted, down) if wanted is Verdict.DENY else None

    def _by_answer(self, counted: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """The budgets that deny when they are full, that ask, and that let requests go down."""
        deny: list[int] = []
        ask: list[int] = []
        down: list[int] = []
        for place in counted:
            budget = self.budgets[place].budget
            (down if budget.downgrade else ask if budget.approver else deny).append(place)
        return deny, ask, down

    def span(self, case: Case, budget: int) -> tuple[int, int]:
        """The least and the most that is spent of a budget in a case, in its unit."""
        if (span := case.spans.get(budget)) is not None:
            return span.least, span.most
        return 0, self.space.limit(budget, case.context)

    def amount(self, budget: int, credits: int) -> int:
        """That many credits in the unit of a budget."""
        rate = self.policy.rate_microusd or 0
        return credits * (rate if self.budgets[budget].budget.limit.unit == "microusd" else 1)

    def least(self, case: Case) -> dict[int, int]:
        """The least that is spent in a case, of the budgets whose share somebody reads."""
        return {budget: span.least for budget, span in case.spans.items()}

    def _spent(self, case: Case, full: Mapping[int, int], fits: Mapping[int, int]) -> dict[int, int] | None:
        """As little spent as can be so that credits do not fit the one and fit the other budgets."""
        spent = self.least(case)
        for budget, credits in full.items():
            least, most = self.span(case, budget)
            limit = self.space.limit(budget, case.context)
            spent[budget] = max(least, limit - self.amount(budget, credits) + 1)
            if spent[budget] > most:
                return None
        for budget, credits in fits.items():
            limit = self.space.limit(budget, case.context)
            if spent.get(budget, 0) + self.amount(budget, credits) > limit:
                return None
        return spent

    def _stuck(
        self, case: Case, place: int, counted: Sequence[int], down: Sequence[int]
    ) -> dict[int, int] | None:
        """Amounts spent with which the request would have to go down and nothing fits; None for none.

        With as much spent as can be, the fewest candidates fit; so one look at each choice of full
        budgets is enough.
        """
        credits = self.passes.credits[place]
        for size in range(1, len(down) + 1):
            for full in combinations(down, size):
                spent = self._most(case, credits, full, [b for b in counted if b not in full])
                smaller = [] if spent is None else list(self._candidates(case, place, full))
                if spent is not None and not self._fitting(case, spent, smaller):
                    return self._less(case, credits, full, spent, smaller)
        return None

    def _less(
        self, case: Case, credits: int, full: Sequence[int], spent: dict[int, int], smaller: Sequence[int]
    ) -> dict[int, int]:
        """As little spent as leaves the same budgets full and nothing smaller that fits."""
        for budget in spent:
            least, _ = self.span(case, budget)
            edge = self.space.limit(budget, case.context) - self.amount(budget, credits)
            fewer = {**spent, budget: max(least, edge + 1) if budget in full else least}
            if not self._fitting(case, fewer, smaller):
                spent = fewer
        return spent

    def _most(
        self, case: Case, credits: int, full: Sequence[int], fits: Sequence[int]
    ) -> dict[int, int] | None:
        """As much spent as can be so that the credits do not fit the one and fit the other budgets."""
        spent = {}
        for budget in range(len(self.budgets)):
            least, most = self.span(case, budget)
            edge = self.space.limit(budget, case.context) - self.amount(budget, credits)
            if budget in full and most <= edge:
                return None
            if budget in fits:
                most = min(most, edge)
            if most < least:
                return None
            spent[budget] = most
        return spent

    def _fitting(self, case: Case, spent: Mapping[int, int], places: Iterable[int]) -> list[int]:
        """The requests that fit in every budget that they count in, with so much spent."""
        return [
            place
            for place in places
            if all(self._fit(case, spent, place, budget) for budget in self.counted(case, place))
        ]

    def _fit(self, case: Case, spent: Mapping[int, int], place: int, budget: int) -> bool:
        after = spent.get(budget, 0) + self.amount(budget, self.passes.credits[place])
        return after <= self.space.limit(budget, case.context)

    def _candidates(self, case: Case, place: int, full: Sequence[int]) -> Iterator[int]:
        """What a request may go down to: at rest, not denied and not dearer."""
        request, facts = self.passes.requests[place], self.passes.facts[place]
        downs = [self.budgets[budget].budget.downgrade for budget in full]
        downgrade = together([down for down in downs if down], NO_FLOOR)
        for candidate in candidates(request, facts.billed_mode, downgrade):
            found = self.passes.places[self.space.place(candidate)]
            at_rest = not case.passed.is_restless(found) and not case.passed.is_denied(found)
            if (
                at_rest
                and self.passes.credits[found] <= self.passes.credits[place]
                and self.verdict(case, found) is not Verdict.DENY
            ):
                yield found
