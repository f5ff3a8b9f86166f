"""What is odd about a policy although it can be read: rules without effect, requests without a budget.

Here belong the remarks that somebody who edits a policy wants to hear. What cannot be right at all is
refused when the policy is loaded; what has to hold everywhere is for `proof`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from planner.errors import ConfigError, Fault
from planner.prices import PriceBook
from policies.analysis.examples import Example, example_of
from policies.analysis.reach import JUDGES, Case, Reach, entries, space_of, visit
from policies.contexts import TooLarge
from policies.decision import Outcome, Verdict
from policies.engine import Policy
from policies.passes import REWRITES
from policies.rules import Rule
from policies.stability import examine

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

    Raises `ConfigError` where rewriting does not come to rest or raises a price under one of the prices
    from now on, and `NoPrice` where there is none.

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
    refuse_unstable(policy, book, now, most_cells)
    survey = Survey(policy, book, now)
    try:
        survey.visit(most_cells)
    except TooLarge as error:
        message = f"there are more than {error}: what is never reached was not looked for"
        return [Fault(UNDECIDED, message, survey.where, hint="raise --max-cells")]
    found = [*survey.without_effect(), *survey.overshadowed(), *survey.about_budgets()]
    return sorted(found, key=lambda fault: _line(fault.where))


def refuse_unstable(policy: Policy, book: PriceBook, now: datetime, most_cells: int) -> None:
    """What loading could not examine: prices that do not come with the package, and large spaces."""
    unsettled = [entry for entry, _ in entries(book, now) if entry not in policy.settled]
    if faults := examine(policy.compiled, unsettled, most_cells).faults:
        raise ConfigError(faults=faults)


def _line(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line) if line.isdecimal() else 0


class Survey:
    """What is reached anywhere in the space of a policy."""

    def __init__(self, policy: Policy, book: PriceBook, now: datetime) -> None:
        self.policy = policy
        self.compiled = policy.compiled
        self.space = space_of(policy.compiled)
        self.book = book
        self.now = now
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
        """Raises `NoPrice` where no price is in force, and `TooLarge` past that many cells."""
        for reach, case in visit(self.space, self.book, self.now, most_cells):
            self.look(reach, case)

    def look(self, reach: Reach, case: Case) -> None:
        """What holds in a case, and what is reached of it."""
        requests, passed = range(len(self.space.requests)), case.passed
        self.rewritten |= passed.fired
        for place in requests:
            self.matched |= case.variant.masks[REWRITES][place] & case.context.masks[REWRITES]
            self.satisfied |= reach.fires(case, place)
        for place in set(passed.places[: len(requests)]):
            self.together.add(reach.fires(case, place))
        for place in {passed.places[start] for start in requests if not passed.is_stopped(start)}:
            if reach.verdict(case, place) is not Verdict.DENY:
                self.count(reach, case, place)

    def count(self, reach: Reach, case: Case, place: int) -> None:
        """The budgets that a request counts in which may go, or that it counts in none."""
        counted, credits = reach.counted(case, place), reach.passes.credits[place]
        self.counted.update(counted)
        if not counted and (self.bare is None or credits > self.bare[1]):
            self.bare = example_of(self.space, case.context, reach.passes.requests[place]), credits

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
        """Judging rules that never decide anything, because others say as much or more."""
        judges, matcher = self.compiled.judges, self.space.matchers[JUDGES]
        fired = [matcher.owners(mask) for mask in self.together]
        spoken = [{turn for turn in turns if not judges[turn].shadow} for turns in fired]
        for turn, rule in enumerate(judges):
            if where := [turns for turns in spoken if turn in turns]:
                if by := _overruling(judges, rule, where):
                    yield _overruled(rule, by)
                elif rule.finding.outcome is Outcome.ALLOW and self.policy.otherwise is None:
                    message = f"`{rule.name}` has no effect: what no rule stops is allowed at any rate"
                    hint = "remove it, or say another `otherwise`"
                    yield Fault(IDLE, message, rule.finding.where, hint=hint)
                else:
                    yield from self.repeated(turn, spoken)

    def repeated(self, turn: int, spoken: Sequence[set[int]]) -> Iterator[Fault]:
        """That another rule says the same wherever this one fires; of two alike the later one repeats."""
        judges = self.compiled.judges
        rule = judges[turn]
        for other in sorted(set.intersection(*(fired for fired in spoken if turn in fired)) - {turn}):
            same = all(turn in fired for fired in spoken if other in fired)
            if _says(rule) == _says(judges[other]) and (other < turn or not same):
                name = judges[other].name
                message = f"`{rule.name}` repeats `{name}`, which fires wherever it does"
                yield Fault(REPEATED, message, rule.finding.where, hint="keep one of the two")
                return

    def about_budgets(self) -> Iterator[Fault]:
        """Requests that no budget covers, and budgets that nothing reaches."""
        for place, item in enumerate(self.policy.budgets):
            if place not in self.counted:
                message = f"nothing that may go counts in the budget `{item.budget.name}`"
                hint = "look at its `applies_to` and at the rules"
                yield Fault(UNUSED, message, item.budget.where, hint=hint)
        if self.bare is not None:
            asked, credits = self.bare
            message = f"no budget covers `{asked}`, {credits} credit{'s' * (credits != 1)}"
            yield Fault(UNCOVERED, message, self.where, hint="add a budget without `applies_to` as a stop")

    @property
    def where(self) -> str:
        """The policy as a whole: the first line of its own file."""
        policy = self.policy
        if policy.sources:
            return f"{policy.sources[0].name}:1"
        places = [item.budget.where for item in policy.budgets]
        places += [rule.finding.where for rule in policy.rules]
        places += [label.where for label in policy.labels.values()]
        places += [guarantee.where for guarantee in policy.guarantees]
        return f"{places[0].rpartition(':')[0]}:1" if places else policy.name


def _idle(rule: Rule, holds: bool) -> Fault:
    if not holds:
        message, hint = f"`{rule.name}` never fires: no request satisfies its condition", "mend the condition"
        return Fault(NEVER, message, rule.finding.where, hint=hint)
    message = f"`{rule.name}` has no effect: the rules before it leave nothing for it"
    return Fault(IDLE, message, rule.finding.where, hint="remove it, or put it further up")


def _says(rule: Rule) -> tuple[Outcome, str]:
    return rule.finding.outcome, rule.finding.approver


def _overruling(judges: Sequence[Rule], rule: Rule, where: Sequence[set[int]]) -> list[Rule]:
    """A few rules of which one is stricter wherever it fires; none where it decides something."""
    rank = [_STRICTNESS[judge.finding.outcome] for judge in judges]
    mine = _STRICTNESS[rule.finding.outcome]
    left = [{turn for turn in fired if rank[turn] > mine} for fired in where]
    found: list[Rule] = []
    while left and all(left):
        times = Counter(chain.from_iterable(left))
        most = max(sorted(times), key=times.__getitem__)
        found.append(judges[most])
        left = [turns for turns in left if most not in turns]
    return [] if left else found


def _overruled(rule: Rule, by: Sequence[Rule]) -> Fault:
    named = " and ".join(f"`{other.name}`" for other in by)
    denies = all(other.finding.outcome is Outcome.DENY for other in by)
    verb = ("deny" if denies else "stop") if by[1:] else ("denies" if denies else "asks about")
    if rule.finding.outcome is Outcome.ALLOW:
        message, hint = f"`{rule.name}` allows what {named} always {verb}", "narrow one of them"
    else:
        message = f"`{rule.name}` decides nothing: {named} {verb} all of it"
        hint = f"remove it, or narrow {named}"
    return Fault(OVERRULED, message, rule.finding.where, hint=hint)
