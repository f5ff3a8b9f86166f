"""What is odd about a policy although it can be read: rules without effect, requests without a budget.

Here belong the remarks that somebody who edits a policy wants to hear. What cannot be right at all is
refused when the policy is loaded; what has to hold everywhere is for `proof`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from planner.errors import Fault
from planner.prices import PriceBook
from policies.analysis.examples import Example, example_of
from policies.analysis.reach import JUDGES, Case, Reach, space_of
from policies.decision import Outcome, Verdict
from policies.engine import Policy
from policies.passes import REWRITES
from policies.rules import Rule
from policies.space import TooLarge

MOST_CELLS: Final = 20_000_000

NEVER: Final = "never_fires"
IDLE: Final = "rule_without_effect"
REPEATED: Final = "rule_repeated"
OVERRULED: Final = "rule_overruled"
UNCOVERED: Final = "no_budget"
UNUSED: Final = "budget_unreached"
UNDECIDED: Final = "not_decided"

_STRICTNESS: Final = {Outcome.ALLOW: 0, Outcome.NEEDS_APPROVAL: 1, Outcome.DENY: 2}


def lint(policy: Policy, book: PriceBook, now: datetime, *, most_cells: int = MOST_CELLS) -> list[Fault]:
    """Every remark, in the order of the file, each with `file:line` and a hint.

    >>> from datetime import UTC
    >>> from planner.loading import shipped_prices
    >>> from policies.loading import parse_policy
    >>> policy = parse_policy(\'\'\'
    ... policy: 1
    ... name: small
    ... otherwise: allow
    ... budgets:
    ...   - {name: all, limit: 100, per: day}
    ... rules:
    ...   - {name: no-4k, when: {resolution: 4k}, deny: too large}
    ...   - {name: ask-4k, when: {resolution: 4k, num_images: 4}, needs_approval: finance}
    ... \'\'\', "small.yaml")
    >>> [str(fault) for fault in lint(policy, shipped_prices(), datetime(2026, 11, 22, tzinfo=UTC))]
    ['small.yaml:9: `ask-4k` decides nothing: `no-4k` denies all of it (remove it, or narrow `no-4k`)']
    """
    survey = Survey(policy, book, now)
    try:
        survey.visit(most_cells)
    except TooLarge:
        message = f"there are more than {most_cells:,} cells: what is never reached was not looked for"
        return [Fault(UNDECIDED, message, policy.name, hint="raise --max-cells")]
    found = [*survey.without_effect(), *survey.overshadowed(), *survey.about_budgets()]
    return sorted(found, key=lambda fault: _line(fault.where))


def _line(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line) if line.isdecimal() else 0


class Survey:
    """What is reached anywhere in the space of a policy."""

    def __init__(self, policy: Policy, book: PriceBook, now: datetime) -> None:
        self.policy = policy
        self.compiled = policy.compiled
        self.space = space_of(policy.compiled)
        self.now = now
        self.entries = [entry for entry in book.entries if entry.end is None or entry.end > now]
        self.rewritten = 0
        """A bit for each rewriting rule that changes or denies something."""
        self.matched = 0
        """A bit for each clause of a rewriting rule that holds for some request as asked."""
        self.together: set[int] = set()
        """The clauses of judging rules that hold together."""
        self.satisfied = 0
        """A bit for each clause of a judging rule that holds for some request, reached or not."""
        self.counted: set[int] = set()
        self.bare: tuple[Example, int] | None = None
        """The dearest request that may go and counts in no budget, with its credits."""

    def visit(self, most_cells: int) -> None:
        """Raises `TooLarge` past that many cells."""
        contexts = self.space.contexts(most_cells // len(self.space.requests))
        for entry in self.entries:
            reach = Reach(self.space, entry)
            for case in reach.cases(contexts):
                self.look(reach, case)

    def look(self, reach: Reach, case: Case) -> None:
        self.rewritten |= case.passed.fired
        for place in range(len(self.space.requests)):
            self.matched |= case.variant.masks[REWRITES][place] & case.context.masks[REWRITES]
            self.satisfied |= reach.fires(case, place)
        for place in set(case.passed.places[: len(self.space.requests)]):
            self.together.add(reach.fires(case, place))
            if reach.verdict(case, place) is not Verdict.DENY:
                counted = reach.counted(case, place)
                self.counted.update(counted)
                credits = reach.passes.credits[place]
                if not counted and (self.bare is None or credits > self.bare[1]):
                    request, entry = reach.passes.requests[place], reach.passes.entry
                    found = example_of(self.space, case.context.example, request, entry, self.now)
                    self.bare = (found, credits) if found else self.bare

    # -- remarks ---------------------------------------------------------------------------------

    def without_effect(self) -> Iterator[Fault]:
        """Rules that nothing reaches."""
        matched = {*self.space.matchers[REWRITES].owners(self.matched)}
        for turn, rule in enumerate(self.compiled.rewrites):
            if not self.rewritten >> turn & 1:
                yield _idle(rule, turn in matched)
        spoken = {turn for mask in self.together for turn in self.space.matchers[JUDGES].owners(mask)}
        satisfied = {*self.space.matchers[JUDGES].owners(self.satisfied)}
        for turn, rule in enumerate(self.compiled.judges):
            if turn not in spoken:
                yield _idle(rule, turn in satisfied)

    def overshadowed(self) -> Iterator[Fault]:
        """Judging rules that never decide anything, because another one says as much or more."""
        judges, matcher = self.compiled.judges, self.space.matchers[JUDGES]
        sets = [{*matcher.owners(mask)} for mask in self.together]
        for turn, rule in enumerate(judges):
            where = [fired for fired in sets if turn in fired]
            if not where or rule.shadow:
                continue
            always = set.intersection(*where) - {turn}
            for other in sorted(always):
                same = all(turn in fired for fired in sets if other in fired)
                if (fault := _beside(rule, judges[other], same, earlier=other < turn)) is not None:
                    yield fault
                    break

    def about_budgets(self) -> Iterator[Fault]:
        """Requests that no budget covers, and budgets that nothing reaches."""
        for place, item in enumerate(self.policy.budgets):
            if place not in self.counted:
                message = f"nothing that may go counts in the budget `{item.budget.name}`"
                yield Fault(
                    UNUSED, message, item.budget.where, hint="look at its `applies_to` and at the rules"
                )
        if self.bare is not None:
            message = f"no budget covers `{self.bare[0]}`, {self.bare[1]} credits"
            yield Fault(UNCOVERED, message, self.where, hint="add a budget without `applies_to` as a stop")

    @property
    def where(self) -> str:
        """The policy as a whole, by the file in which anything of it stands."""
        places = [item.budget.where for item in self.policy.budgets] + [
            r.finding.where for r in self.policy.rules
        ]
        return f"{places[0].rpartition(':')[0]}:1" if places else self.policy.name


def _idle(rule: Rule, holds: bool) -> Fault:
    if not holds:
        message, hint = f"`{rule.name}` never fires: no request satisfies its condition", "mend the condition"
        return Fault(NEVER, message, rule.finding.where, hint=hint)
    message = f"`{rule.name}` has no effect: the rules before it leave nothing for it"
    return Fault(IDLE, message, rule.finding.where, hint="remove it, or put it further up")


def _beside(rule: Rule, other: Rule, same: bool, earlier: bool) -> Fault | None:
    """What a rule adds beside one that always fires with it; None where it adds something."""
    if other.shadow:
        return None
    mine, yours = rule.finding, other.finding
    if _STRICTNESS[mine.outcome] < _STRICTNESS[yours.outcome]:
        verb = "denies" if yours.outcome is Outcome.DENY else "asks about"
        if mine.outcome is Outcome.ALLOW:
            message, hint = f"`{rule.name}` allows what `{other.name}` always {verb}", "narrow one of the two"
        else:
            message = f"`{rule.name}` decides nothing: `{other.name}` {verb} all of it"
            hint = f"remove it, or narrow `{other.name}`"
        return Fault(OVERRULED, message, mine.where, hint=hint)
    alike = mine.outcome is yours.outcome and mine.approver == yours.approver
    if alike and (earlier or not same):
        message = f"`{rule.name}` repeats `{other.name}`, which fires wherever it does"
        return Fault(REPEATED, message, mine.where, hint="keep one of the two")
    return None
