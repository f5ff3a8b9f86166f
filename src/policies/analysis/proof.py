"""Whether what a policy guarantees holds everywhere: every request, context, instant and amount spent.

Here belong the visit of all cells and the counterexample to what does not hold, the smallest and always
tried in the engine itself before it is told. How cells are enumerated belongs to `policies.space`, where
requests end to `reach`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from planner.prices import PriceBook
from policies.analysis.examples import Example, example_of
from policies.analysis.reach import GUARANTEES, JUDGES, Case, Ending, Reach, entries, space_of, visit
from policies.budgets import Allowance, Usage
from policies.contexts import TooLarge
from policies.decision import Decision, Verdict
from policies.engine import Policy
from policies.passes import REWRITES
from policies.spending import scope_name

MOST_CELLS: Final = 20_000_000

ENDS: Final = "rewriting-ends"
STABLE: Final = "rewriting-is-stable"
VALID: Final = "final-request-is-valid"
CHEAPER: Final = "price-is-never-raised"
FIRE: Final = "every-rule-can-fire"
ALWAYS: Final[Mapping[str, str]] = {
    ENDS: "each rule is tried once, from top to bottom",
    STABLE: "what is decided once is left as it is when it is decided again",
    VALID: "whatever rules leave is a request that the provider takes",
    CHEAPER: "no rule raises a price unless it says `may_cost_more`",
    FIRE: "some request is reached by every rule",
}
"""What is proven of every policy, by name, and what it means."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """One request for which a guarantee does not hold, as the engine decides it."""

    asked: Example
    spent: Mapping[str, int]
    """What is spent before it of every budget that was asked, by `budget/scope`, in its unit."""
    decision: Decision

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Smaller ones are told before larger ones."""
        spent = sum(amount > 0 for amount in self.spent.values())
        return len(self.asked.inputs), len(self.asked.labels), spent, self.decision.credits


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one guarantee; `proved` is None where it was not decided."""

    name: str
    proved: bool | None
    why: str
    where: str = ""
    counterexample: Counterexample | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of all guarantees of a policy."""

    results: tuple[Result, ...]
    cells: int
    """How many cells were visited: requests times contexts that somebody can tell apart."""
    covers: int
    """How many cells they stand for, apart from amounts spent."""

    @property
    def proved(self) -> bool | None:
        """True where all hold, False where one does not, None where it was not decided."""
        found = [result.proved for result in self.results]
        return False if False in found else None if None in found else True


def prove(policy: Policy, book: PriceBook, now: datetime, *, most_cells: int = MOST_CELLS) -> Proof:
    """Every guarantee on every cell, under each price entry in force at `now` or later.

    A caller who refuses rewriting, or has floors of his own, gets at most a denial more; what somebody
    grants on top of a limit is that person's word and not looked at. Raises `NoPrice` where no price is in
    force any more.

    >>> from datetime import UTC
    >>> from planner.loading import shipped_prices
    >>> from policies.loading import parse_policy
    >>> policy = parse_policy(\'\'\'
    ... policy: 1
    ... name: small
    ... otherwise: allow
    ... rules:
    ...   - name: large
    ...     when: {credits: {above: 20}}
    ...     needs_approval: finance
    ... guarantees:
    ...   - name: nothing-over-16-by-itself
    ...     never: {verdict: allow, credits: {above: 16}}
    ... \'\'\', "small.yaml")
    >>> proof = prove(policy, shipped_prices(), datetime(2026, 11, 22, tzinfo=UTC))
    >>> [(result.name, result.proved) for result in proof.results][0]
    ('nothing-over-16-by-itself', False)
    >>> proof.results[0].counterexample.decision.credits
    20
    """
    return _Prover(policy, book, now).proof(most_cells)


class _Prover:
    """One policy on its way through all cells; a class because every cell may add a counterexample."""

    def __init__(self, policy: Policy, book: PriceBook, now: datetime) -> None:
        self.policy = policy
        self.book = book
        self.now = now
        self.guarantees = policy.guarantees
        self.matcher = policy.compiled.matcher(guarantee.never for guarantee in self.guarantees)
        self.space = space_of(policy.compiled, self.matcher)
        self.verdicts = {verdict: self.space.verdict_mask(GUARANTEES, verdict) for verdict in Verdict}
        self.best: dict[str, Counterexample] = {}
        self.cells = 0
        self.rewritten = 0
        """A bit for each rewriting rule that fired somewhere."""
        self.judged = 0
        """A bit for each clause of a judging rule that held somewhere."""

    def proof(self, most_cells: int) -> Proof:
        try:
            for reach, case in visit(self.space, self.book, self.now, most_cells):
                self.cells += len(self.space.requests)
                self.look(reach, case)
        except TooLarge as error:
            why = f"not decided: there are more than {error}"
            names = (*((g.name, g.where) for g in self.guarantees), *((name, "") for name in ALWAYS))
            return Proof(tuple(Result(name, None, why, where) for name, where in names), self.cells, 0)
        return Proof((*self.promised(), *self.always()), self.cells, self.covers())

    def covers(self) -> int:
        """How many cells there are before those that are taken alike become one."""
        spans = ((since, entry.end) for entry, since in entries(self.book, self.now))
        return self.space.stands_for * sum(self.space.concrete(*span) for span in spans)

    # -- one case --------------------------------------------------------------------------------

    def look(self, reach: Reach, case: Case) -> None:
        """What fires in a case, and whether a guarantee is broken in it."""
        ends = set(case.passed.places[: len(self.space.requests)])
        self.rewritten |= case.passed.fired
        for place in ends:
            self.judged |= reach.fires(case, place)
        if case.passed.restless or case.passed.denied:
            self.look_at_rewriting(reach, case)
        held, masks = case.context.masks[GUARANTEES], case.variant.masks[GUARANTEES]
        broken = {place: found for place in ends if (found := masks[place] & held)}
        if broken:
            self.look_at_ends(reach, case, broken)

    def look_at_rewriting(self, reach: Reach, case: Case) -> None:
        """The requests that do not come to rest, and those that a rule would make dearer.

        What an earlier rule denies at any rate is not held against a later one.
        """
        for start in filter(case.passed.is_stopped, range(len(self.space.requests))):
            steps = reach.passes.walk(case.variant, case.context.masks[REWRITES], start)
            first = next((step for _, step in steps if step.denies), None)
            if first is None or first.raises:
                name = CHEAPER if first else STABLE
                self.note([name], reach, case, start, Ending(Verdict.DENY, reach.least(case)))

    def look_at_ends(self, reach: Reach, case: Case, broken: Mapping[int, int]) -> None:
        """The guarantees that requests break with one of the verdicts that they can come to.

        What is denied while it is rewritten comes to no other verdict.
        """
        going: dict[int, list[int]] = {}
        stopped: dict[int, list[int]] = {}
        for start, end in enumerate(case.passed.places[: len(self.space.requests)]):
            if end in broken:
                (stopped if case.passed.is_stopped(start) else going).setdefault(end, []).append(start)
        for end, held in broken.items():
            for verdict, mask in self.verdicts.items():
                if not (names := [self.guarantees[turn].name for turn in self.matcher.owners(held & mask)]):
                    continue
                if end in going and (ending := reach.ending(case, end, verdict)) is not None:
                    for start in going[end]:
                        self.note(names, reach, case, start, ending)
                if verdict is Verdict.DENY:
                    for start in stopped.get(end, ()):
                        self.note(names, reach, case, start, Ending(verdict, reach.least(case)))

    # -- counterexamples -------------------------------------------------------------------------

    def note(self, names: Sequence[str], reach: Reach, case: Case, start: int, ending: Ending) -> None:
        """Keep the counterexample for each guarantee of which it is the smallest so far."""
        fields, labels = case.context.said
        said = len(reach.passes.requests[start].inputs()) + fields, labels
        better = [name for name in names if name not in self.best or said <= self.best[name].size[:2]]
        found = self.example(reach, case, start, ending) if better else None
        for name in better:
            if found and (name not in self.best or found.size < self.best[name].size):
                self.best[name] = found

    def example(self, reach: Reach, case: Case, start: int, ending: Ending) -> Counterexample:
        """The request, its labels, an instant and the amounts, decided by the engine itself."""
        asked = example_of(self.space, case.context, reach.passes.requests[start])
        by_budget = {self.policy.budgets[place].budget.name: amount for place, amount in ending.spent.items()}
        named: dict[str, int] = {}

        def usage(allowance: Allowance) -> Usage:
            amount = named[_scope(allowance)] = by_budget.get(allowance.budget, 0)
            return Usage(settled=amount)

        decision = self.policy.judge(asked.inputs, asked.labels, book=self.book, at=asked.at, usage=usage)
        if decision.verdict is not ending.verdict:
            raise AssertionError("the engine does not decide what the proof says")
        return Counterexample(asked, named, decision)

    # -- results ---------------------------------------------------------------------------------

    def promised(self) -> Iterable[Result]:
        for guarantee in self.guarantees:
            found = self.best.get(guarantee.name)
            why = guarantee.because or "no decision is like that"
            if found is not None:
                credits = found.decision.credits
                counted = f"{credits} credit{'s' * (credits != 1)}"
                why = f"a request for {counted} is {VERBS[found.decision.verdict]}"
            yield Result(guarantee.name, found is None, why, guarantee.where, found)

    def always(self) -> Iterable[Result]:
        for name, why in ALWAYS.items():
            if name == FIRE:
                idle = self.idle()
                told = ", ".join(f"`{rule}`" for rule, _ in idle)
                where = idle[0][1] if idle else ""
                yield Result(name, not idle, f"nothing reaches {told}" if idle else why, where)
            else:
                found = self.best.get(name)
                yield Result(name, found is None, f"not so: {why}" if found else why, "", found)

    def idle(self) -> list[tuple[str, str]]:
        """The rules that nothing reaches, and where they stand."""
        compiled = self.policy.compiled
        fired = {rule.name for turn, rule in enumerate(compiled.rewrites) if self.rewritten >> turn & 1}
        spoken = self.space.matchers[JUDGES].owners(self.judged)
        fired |= {compiled.judges[turn].name for turn in spoken}
        return [(rule.name, rule.finding.where) for rule in self.policy.rules if rule.name not in fired]


VERBS: Final = {
    Verdict.ALLOW: "allowed",
    Verdict.NEEDS_APPROVAL: "put to somebody for approval",
    Verdict.DENY: "denied",
}


def _scope(allowance: Allowance) -> str:
    """The budget and scope as `--spent` takes it; the budget alone where a slash would be misread."""
    slashes = any("/" in (value or "") for _, value in allowance.scope)
    return allowance.budget if slashes and allowance.scope[1:] else scope_name(allowance)
