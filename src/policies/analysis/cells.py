"""Which cells change between two policies: requests and contexts, with nothing spent of any budget.

Here belongs the comparison of two policies over everything that either of them can tell apart. What
changes about their budgets belongs to `limits`; how two decisions differ to `diff`, as do past requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, Final, NamedTuple

from planner.errors import Fault
from planner.prices import PriceBook
from policies.analysis.diff import Difference, FieldDifference, compare
from policies.analysis.examples import Example, example_of
from policies.analysis.limits import budget_changes as _budgets
from policies.analysis.reach import Case, Reach
from policies.budgets import Usage
from policies.compiled import CLOCK
from policies.conditions import leaves
from policies.contexts import Context, TooLarge
from policies.decision import Verdict
from policies.engine import Policy
from policies.matching import Matcher
from policies.passes import REWRITES
from policies.space import Space

MOST_CELLS: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class ChangedCells:
    """Cells that differ in the same way."""

    difference: Difference
    cells: int
    least_credits: int
    """The change of what one request costs, at the least and at the most; what does not go costs nothing."""
    most_credits: int
    example: str
    """The plainest of the requests with its labels."""
    looser: bool
    """Whether the later policy lets more through, or for more."""

    def as_json(self) -> dict[str, Any]:
        difference = self.difference
        return {
            "words": str(difference),
            "before": {"verdict": difference.before.verdict.value, "rules": list(difference.before.rules)},
            "after": {"verdict": difference.after.verdict.value, "rules": list(difference.after.rules)},
            "fields": [field.as_json() for field in difference.fields],
            "cells": self.cells,
            "credits": [self.least_credits, self.most_credits],
            "example": self.example,
            "looser": self.looser,
        }


@dataclass(frozen=True, slots=True)
class CellDiff:
    """What changes between two policies, whatever the traffic is."""

    cells: int
    """How many cells there are that one of the two can tell apart."""
    changed: tuple[ChangedCells, ...]
    """The most cells first."""
    budgets: tuple[str, ...]
    """What changes about the budgets, in words."""

    @property
    def changed_cells(self) -> int:
        return sum(changed.cells for changed in self.changed)

    def as_json(self) -> dict[str, Any]:
        """The `cells` object of the `policy-diff` document."""
        return {
            "cells": self.cells,
            "changed_cells": self.changed_cells,
            "changed": [changed.as_json() for changed in self.changed],
            "budgets": list(self.budgets),
        }


def diff_cells(
    before: Policy, after: Policy, book: PriceBook, now: datetime, *, most_cells: int = MOST_CELLS
) -> CellDiff | None:
    """Every cell under both policies; None past that many.

    Budgets start empty, so what differs is what the rules say, and what is larger than a whole budget.
    Times of day are those of each policy's own zone. The price is that of the entry in force at `now`.
    """
    try:
        return _Comparison(before, after, book, now).diff(most_cells)
    except TooLarge:
        return None


def loosened(base: Policy, policy: Policy, book: PriceBook, now: datetime, *, most_cells: int) -> list[Fault]:
    """Where a policy lets more through than the one it extends, for more, or promises less."""
    found = diff_cells(base, policy, book, now, most_cells=most_cells)
    if found is None:
        message = f"there are more than {most_cells:,} cells: what was loosened was not looked for"
        return [Fault("not_decided", message, _file(policy), hint="raise --max-cells")]
    places = _places(policy)
    remarks = [*_promises(base, policy)]
    for changed in found.changed:
        if changed.looser:
            rules = (*changed.difference.before.rules, *changed.difference.after.rules)
            where = next((places[rule] for rule in rules if rule in places), _file(policy))
            remarks.append(_loosened(base, f"{changed.difference}, as for `{changed.example}`", where))
    for change in _budgets(base, policy):
        if change.looser:
            remarks.append(_loosened(base, str(change), places.get(change.name, _file(policy))))
    return remarks


def _promises(base: Policy, policy: Policy) -> Iterator[Fault]:
    """Enforcement that is gone, and guarantees that say something else."""
    if base.enforced and not policy.enforced:
        yield _loosened(base, "in shadow everything goes as asked", _file(policy))
    kept = {guarantee.name: guarantee for guarantee in policy.guarantees}
    for guarantee in base.guarantees:
        if guarantee.name not in kept:
            yield _loosened(base, f"the guarantee `{guarantee.name}` is gone", _file(policy))
        elif kept[guarantee.name].never != guarantee.never:
            words = f"the guarantee `{guarantee.name}` says something else"
            yield _loosened(base, words, kept[guarantee.name].where)


def _loosened(base: Policy, words: str, where: str) -> Fault:
    return Fault(LOOSENED, f"looser than `{base.name}`: {words}", where, hint=_MEANT)


def _places(policy: Policy) -> dict[str, str]:
    """Where everything stands that a finding can name."""
    found = {rule.name: rule.finding.where for rule in policy.rules}
    found |= {item.budget.name: item.budget.where for item in policy.budgets}
    found |= {f"label {name}": label.where for name, label in policy.labels.items()}
    return found | ({"otherwise": policy.otherwise.where} if policy.otherwise else {})


def _file(policy: Policy) -> str:
    """The policy as a whole, by its own file."""
    return f"{policy.sources[0].name}:1" if policy.sources else policy.name


LOOSENED: Final = "loosened"
_MEANT: Final = "nothing to do if it is meant"


class _Comparison:
    """Two policies side by side; a class because every cell may add to a difference."""

    def __init__(self, before: Policy, after: Policy, book: PriceBook, now: datetime) -> None:
        self.policies = before, after
        self.book = book
        self.now = now
        both, matchers = [before.compiled, after.compiled], [*_matchers(before), *_matchers(after)]
        self.joint = Space(both, matchers, limits=True)
        self.parts = self.joint.part(0, slice(0, 3)), self.joint.part(1, slice(3, 6))
        self.entry = book.entry_at(now)
        self.timed = {**_timed(after), **_timed(before)}
        self.known: dict[Any, tuple[Difference, Example] | None] = {}
        self.found: dict[Difference, ChangedCells] = {}

    def diff(self, most_cells: int) -> CellDiff:
        requests = len(self.joint.requests)
        contexts = self.joint.contexts(most_cells, self.now, self.entry.end)
        if requests * len(contexts) > most_cells:
            raise TooLarge
        reaches = [Reach(part, self.entry) for part in self.parts]
        for context in contexts:
            sides = [_case(reach, _part(context, at)) for at, reach in enumerate(reaches)]
            for start in range(requests):
                self.look(reaches, sides, context, start)
        changed = sorted(self.found.values(), key=lambda one: -one.cells)
        budgets = tuple(map(str, _budgets(*self.policies)))
        return CellDiff(requests * len(contexts), tuple(changed), budgets)

    def look(self, reaches: Sequence[Reach], sides: Sequence[Case], context: Context, start: int) -> None:
        """One request in one context under both policies."""
        ends = [_end(reach, case, start) for reach, case in zip(reaches, sides, strict=True)]
        if ends[0].same(ends[1]):
            return
        key = start, context.unlisted, *ends, *(case.context.masks[REWRITES] for case in sides)
        if key not in self.known:
            self.known[key] = self.compared(context, start)
        if (found := self.known[key]) is not None:
            difference, example = found
            change = ends[1].credits - ends[0].credits
            dearer = ends[1].price_credits > ends[0].price_credits
            looser = _RANK[ends[1].verdict] < _RANK[ends[0].verdict] or dearer
            self.add(difference, example, change, looser)

    def compared(self, context: Context, start: int) -> tuple[Difference, Example] | None:
        """How the engine's decisions differ; None where they come to the same."""
        asked = example_of(self.joint, context, self.joint.requests[start])
        before, after = (
            policy.judge(asked.inputs, asked.labels, book=self.book, at=asked.at, usage=lambda _: Usage())
            for policy in self.policies
        )
        difference = compare(before, after)
        return (replace(difference, fields=self.worded(difference)), asked) if difference else None

    def worded(self, difference: Difference) -> tuple[FieldDifference, ...]:
        """What differs between two final requests, with the values that one cell stands for in words."""
        told_as = self.joint.told_as
        return tuple(
            FieldDifference(field, told_as(field, old), told_as(field, new))
            for field, old, new in difference.fields
        )

    def add(self, difference: Difference, example: Example, change: int, looser: bool) -> None:
        known = self.found.get(difference)
        if known is None:
            told = self.told(difference, example)
            self.found[difference] = ChangedCells(difference, 1, change, change, told, looser)
        else:
            self.found[difference] = replace(
                known,
                cells=known.cells + 1,
                least_credits=min(known.least_credits, change),
                most_credits=max(known.most_credits, change),
                looser=known.looser or looser,
            )

    def told(self, difference: Difference, example: Example) -> str:
        """The example, with its time where the difference rests on a rule that reads the clock."""
        for rule in (*difference.after.rules, *difference.before.rules):
            if (zone := self.timed.get(rule)) is not None:
                return f"{example}, on {example.at.astimezone(zone):%A at %H:%M}"
        return str(example)


_RANK: Final = {Verdict.ALLOW: 0, Verdict.NEEDS_APPROVAL: 1, Verdict.DENY: 2}


class _End(NamedTuple):
    """Where a request ends under one policy."""

    verdict: Verdict
    place: int
    price_credits: int
    """What it costs once it goes; nothing where it is denied."""
    rules: int
    """The clauses of judging rules that hold for what the rules leave."""
    full: tuple[int, ...]
    """The places of the budgets in which that does not fit."""

    @property
    def credits(self) -> int:
        """What it costs then: what waits for an approval costs nothing until it has one."""
        return self.price_credits if self.verdict is Verdict.ALLOW else 0

    def same(self, other: _End) -> bool:
        """Whether two ends come to the same; two denials do, whatever they deny."""
        if self.verdict is Verdict.DENY:
            return other.verdict is Verdict.DENY
        return (self.verdict, self.place) == (other.verdict, other.place)


def _end(reach: Reach, case: Case, start: int) -> _End:
    left = case.passed.places[start]
    verdict, place, full = reach.decided(case, start)
    price = 0 if verdict is Verdict.DENY else reach.passes.credits[place]
    return _End(verdict, place, price, reach.fires(case, left), full)


def _matchers(policy: Policy) -> list[Matcher]:
    compiled = policy.compiled
    return [compiled.rewrite_matcher, compiled.budget_matcher, compiled.judge_matcher]


def _timed(policy: Policy) -> dict[str, tzinfo]:
    """The rules that read the clock, each with the zone in which they do."""
    return {
        rule.name: policy.zone
        for rule in policy.rules
        if rule.when is not None and any(leaf.attribute in CLOCK for leaf in leaves(rule.when))
    }


def _part(context: Context, at: int) -> Context:
    """A context of both policies as one of them has it."""
    masks = context.masks[3 * at : 3 * at + 3]
    return replace(context, masks=masks, unlisted=(context.unlisted[at],))


def _case(reach: Reach, context: Context) -> Case:
    """A context with nothing spent."""
    return next(iter(reach.cases([context])))
