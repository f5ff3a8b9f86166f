"""The past replayed: every past request decided again, in order, in virtual time, by another policy.

Here belong the order of events, what counts in budgets meanwhile, and what the replay assumes. The
figures belong to `figures`. Nothing is read but arguments: no ledger, no clock, no file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from operator import attrgetter
from typing import Final

from planner.errors import Fault, NoPrice
from planner.past import COMPLETED, FAILED, PastRequest
from planner.prices import PriceBook
from policies.analysis.figures import Answer, Figures, RuleCounts, RuleFigures, answer_to, figures_of, summed
from policies.budgets import Allowance, Usage
from policies.decision import Decision, Verdict
from policies.engine import Policy

SPANS: Final = ("day", "month")
"""What figures can be grouped by besides labels: spans of the policy's zone."""

Place = tuple[tuple[str | None, ...], str]
"""The values of all labels, and the day in the policy's zone."""

_BY_INSTANT: Final = attrgetter("submitted_at")


class Counters:
    """What counts in each allowance as virtual time goes by.

    Whether credits are held or settled they count the same, so all that has to be remembered of a
    request is when one that failed gives its credits back.
    """

    def __init__(self, rate_microusd: int | None) -> None:
        self._rate_microusd = rate_microusd
        self._usage: dict[Allowance, Usage] = {}
        self._ends: list[tuple[datetime, int, Decision]] = []
        self._turn = count()

    def __call__(self, allowance: Allowance) -> Usage:
        return self._usage.get(allowance, _UNUSED)

    def turn_to(self, at: datetime) -> None:
        """Let everything happen that has happened by that instant."""
        while self._ends and self._ends[0][0] <= at:
            self._book(heappop(self._ends)[2], -1)

    def grant(self, decision: Decision) -> None:
        """Let the budgets that are full let this one through, as an approval of it would."""
        for allowance in decision.allowances:
            usage = self(allowance)
            missing = usage.used + self._amount(allowance, decision) - allowance.limit
            self._usage[allowance] = usage._replace(granted=max(usage.granted, missing))

    def hold(self, past: PastRequest, decision: Decision) -> None:
        """Set the credits of a request that goes aside, until its end where it failed."""
        self._book(decision, 1)
        if past.free and decision.allowances:
            ended_at = past.completed_at or past.submitted_at
            heappush(self._ends, (ended_at, next(self._turn), decision))

    def _book(self, decision: Decision, sign: int) -> None:
        for allowance in decision.allowances:
            usage = self(allowance)
            settled = usage.settled + sign * self._amount(allowance, decision)
            self._usage[allowance] = Usage(settled, granted=usage.granted)

    def _amount(self, allowance: Allowance, decision: Decision) -> int:
        return allowance.amount(decision.quote.credits, self._rate_microusd)


_UNUSED: Final = Usage()


def answers(
    past: Iterable[PastRequest], policy: Policy, book: PriceBook, *, approve: bool = False
) -> Iterator[Answer]:
    """What the policy says to each past request, in the order in which they were submitted.

    The policy decides as if it were enforced. A request that goes counts in its budgets from its own
    instant on; one that failed gives its credits back at its end. With `approve` every approval is
    given, and a full budget is granted what is missing. Raises `NoPrice`, naming the first of them,
    where requests lie outside the price book.
    """
    counters = Counters(policy.rate_microusd)
    in_order = sorted(past, key=_BY_INSTANT)
    _refuse_unpriced(in_order, book)
    for one in in_order:
        at = one.submitted_at
        counters.turn_to(at)
        decision = policy.judge(one.request, one.labels, book=book, at=at, usage=counters)
        approved = approve and decision.verdict is Verdict.NEEDS_APPROVAL
        goes = approved or decision.verdict is Verdict.ALLOW
        if approved:
            counters.grant(decision)
        if goes:
            counters.hold(one, decision)
        yield answer_to(one, decision, goes)


def _refuse_unpriced(past: Sequence[PastRequest], book: PriceBook) -> None:
    outside, problem = [], None
    for one in past:
        try:
            book.entry_at(one.submitted_at)
        except NoPrice as error:
            outside.append(one)
            problem = problem or error.faults[0]
    if problem is not None:
        more = f", nor for {len(outside) - 1:,} more requests" if len(outside) > 1 else ""
        fault = Fault(problem.code, problem.message + more, outside[0].where, hint=problem.hint)
        raise NoPrice(faults=[fault])


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one value, or of one combination of values; a missing label is None."""

    values: tuple[str | None, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Replayed:
    """A past under a policy: its figures by label and day, by rule, and what was assumed."""

    policy: Policy
    labels: tuple[str, ...]
    """What figures can be grouped by, besides `SPANS`."""
    cells: Mapping[Place, Mapping[Figures, int]]
    """For each place the figures of its requests, and how many have them."""
    rules: tuple[RuleFigures, ...]
    assumptions: tuple[str, ...]

    @property
    def total(self) -> Figures:
        return summed(_merged(self.cells.values()))

    @property
    def days(self) -> tuple[str, ...]:
        """Every day on which something was asked, in the policy's zone."""
        return tuple(sorted({day for _, day in self.cells}))

    def by(self, *names: str) -> tuple[Group, ...]:
        """The figures grouped by labels, `day` or `month`; sorted, with missing labels last."""
        found: dict[tuple[str | None, ...], list[Mapping[Figures, int]]] = {}
        for (values, day), figures in self.cells.items():
            known = {**dict(zip(self.labels, values, strict=True)), "day": day, "month": day[:7]}
            found.setdefault(tuple(known[name] for name in names), []).append(figures)
        groups = (Group(values, summed(_merged(each))) for values, each in found.items())
        return tuple(sorted(groups, key=lambda group: [(text is None, text or "") for text in group.values]))


def _merged(found: Iterable[Mapping[Figures, int]]) -> Mapping[Figures, int]:
    merged: Counter[Figures] = Counter()
    for each in found:
        merged.update(each)
    return merged


def replay(
    past: Iterable[PastRequest],
    policy: Policy,
    book: PriceBook,
    labels: Sequence[str] | None = None,
    *,
    approve: bool = False,
) -> Replayed:
    """The past under a policy, with budgets of its own that start empty.

    `labels` can be grouped by; None stands for all that the policy declares. What `approve` does, and
    the errors, are those of `answers`.

    >>> from datetime import UTC
    >>> from planner.loading import shipped_prices
    >>> from planner.past import stand_in
    >>> from policies.loading import load_policy
    >>> asked = stand_in({"resolution": "4k"})
    >>> at = datetime(2026, 10, 1, tzinfo=UTC)
    >>> past = PastRequest(at, None, asked, "completed", 5, 5, 75_000, None, None, {"stage": "draft"}, "")
    >>> found = replay([past], load_policy("cheap-drafts"), shipped_prices())
    >>> found.total.were_credits, found.total.credits, found.by("stage")[0].values
    (5, 1, ('draft',))
    """
    kept, names = list(past), tuple(policy.labels if labels is None else labels)
    cells: defaultdict[Place, Counter[Figures]] = defaultdict(Counter)
    rules = RuleCounts()
    for answer in answers(kept, policy, book, approve=approve):
        one = answer.past
        day = one.submitted_at.astimezone(policy.zone).date().isoformat()
        place = tuple(map(one.labels.get, names)), day
        cells[place][figures_of(answer, policy.rate_microusd)] += 1
        rules.count(answer)
    return Replayed(policy, names, cells, rules.all(), assumptions(kept, policy, book, approve=approve))


# -- assumptions ---------------------------------------------------------------------------------


def assumptions(
    past: Sequence[PastRequest], policy: Policy, book: PriceBook, *, approve: bool = False
) -> tuple[str, ...]:
    """What a replay takes for granted, in sentences; those that touch no request are left out."""
    free = sum(one.free for one in past)
    endless = sum(one.free and one.completed_at is None for one in past)
    open_ = sum(one.status not in (COMPLETED, FAILED) for one in past)
    uncharged = sum(one.credits_used is None and not one.free for one in past)
    unpriced = sum(one.rate_microusd is None for one in past)
    said = [
        "Everybody would have asked for the same at the same instants, and not again after a denial.",
        f"Prices are those of {_entries(past, book)}; what goes costs its quote.",
        _APPROVED if approve else "What needs an approval gets none: it neither goes nor counts in a budget.",
    ]
    if policy.budgets:
        said.append("Budgets start empty at the first request and count from the instant of each request.")
    if not policy.enforced:
        said.append("The policy is in shadow; it is replayed as if it were enforced.")
    if free:
        said.append(f"{_many(free)} failed and would have failed again: free, and held until the end.")
    if endless:
        said.append(f"{_many(endless)} failed at an unknown instant: taken to have ended at once.")
    if open_:
        said.append(f"{_many(open_)} neither completed nor failed: counted at the price.")
    if uncharged:
        have, count = ("has", "it counts") if uncharged == 1 else ("have", "they count")
        said.append(f"{_many(uncharged)} {have} no recorded charge: {count} at what was quoted.")
    if unpriced:
        known = policy.credit_price
        at = f"counted at the policy's {known.name}" if known else "so there is no sum in USD"
        do = "does" if unpriced == 1 else "do"
        said.append(f"{_many(unpriced)} {do} not say what a credit cost then: {at}.")
    return tuple(said)


_APPROVED: Final = "Every approval is given at once, and a full budget is granted what is missing."


def _many(number: int) -> str:
    return f"{number:,} request{'s' * (number != 1)}"


def _entries(past: Sequence[PastRequest], book: PriceBook) -> str:
    if not past:
        return "the price book"
    instants = [one.submitted_at for one in past]
    return " and ".join(entry.id for entry in book.in_force(min(instants), max(instants)))
