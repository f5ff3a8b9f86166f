"""Whether a policy's rewrites come to rest and never raise a price, settled when it is loaded.

Here belong laws 7 and 8 as an examination of the whole finite space, and the faults that are told where
they are broken. Where the space is too large nothing is claimed, and the engine checks each rewritten
request instead. How the space is enumerated belongs to `space`, what a pass does to `passes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.errors import Fault
from planner.prices import PriceEntry
from planner.request import OPEN_FIELDS
from policies.compiled import CLOCK, Compiled
from policies.conditions import WEEKDAYS
from policies.contexts import Context, TooLarge
from policies.passes import REWRITES, Passes, Step, Variant
from policies.space import MOST_REQUESTS, Space
from policies.spans import Span

MOST_CELLS: Final = 3_000_000
"""How many cells are examined when a policy is loaded, which takes seconds at the most."""
_CELLS_A_STEP: Final = 15
"""How many cells take about as long as a rule that is tried on one request, before it is a table."""
_TABLES_A_PASS: Final = 7
"""How many rules become tables, which each way of using budgets asks for, while all are looked up."""


@dataclass(frozen=True, slots=True)
class Stability:
    """What the examination found."""

    settled: tuple[PriceEntry, ...]
    """The entries for which no rewrite raises a price unasked and every result stays as it is."""
    faults: tuple[Fault, ...]


def examine(policy: Compiled, entries: Sequence[PriceEntry], most_cells: int = MOST_CELLS) -> Stability:
    """Every rewriting rule over the whole space, under each price entry; nothing past so many cells."""
    if not policy.rewrites:
        return Stability(tuple(entries), ())
    most_requests = min(MOST_REQUESTS, most_cells // (_CELLS_A_STEP * len(policy.rewrites)))
    matchers = [policy.rewrite_matcher, policy.budget_matcher]
    space = Space([policy], matchers, granted=True, most_requests=most_requests)
    settled, faults = [], dict[tuple[str, ...], Fault]()
    try:
        contexts = space.contexts(most_cells)
        for entry in entries:
            examination = _Examination(Passes(space, entry), faults)
            examination.visit(contexts, most_cells)
            if not examination.found:
                settled.append(entry)
    except TooLarge:
        settled.clear()
    return Stability(tuple(settled), tuple(faults.values()))


class _Examination:
    """The passes of one price entry, and the faults that they show."""

    def __init__(self, passes: Passes, faults: dict[tuple[str, ...], Fault]) -> None:
        self.passes = passes
        self.rules = passes.rules
        self.faults = faults
        """One for each rule that raises a price and each pair that does not come to rest."""
        self.found = False
        self.seen: set[tuple[int, int]] = set()

    def visit(self, contexts: Sequence[Context], most_cells: int) -> None:
        """Every way in which the rules can be taken; raises `TooLarge` past so many cells."""
        cells = len(self.passes.requests)
        if self.passes.space.used:
            cells *= 1 + len(self.rules) // _TABLES_A_PASS
        for context in contexts:
            for variant, spent in self.passes.variants(context):
                place = id(variant), context.masks[REWRITES]
                if place not in self.seen:
                    self.seen.add(place)
                    self.look(variant, context, spent)
                    if len(self.seen) * cells > most_cells:
                        raise TooLarge

    def look(self, variant: Variant, context: Context, spent: Mapping[int, Span]) -> None:
        """Every request in one context that a rule denies on the way, or that does not come to rest."""
        passed = self.passes.run(variant, context.masks[REWRITES])
        if not passed.denied and not passed.restless:
            return
        for start in range(len(self.passes.requests)):
            if passed.is_stopped(start):
                self.walk(variant, context, spent, start)

    def walk(self, variant: Variant, context: Context, spent: Mapping[int, Span], start: int) -> None:
        """One request step by step, to name the rules that are at fault."""
        place, last = start, -1
        for turn, step in self.passes.walk(variant, context.masks[REWRITES], start):
            if step.raises and self.is_new(self.rules[turn].name):
                self.faults[self.rules[turn].name,] = self.raises(turn, step, start, context, spent)
            if step.denies:
                return
            place, last = step.place, turn
        again, _ = next(self.passes.walk(variant, context.masks[REWRITES], place))
        names = self.rules[again].name, self.rules[last].name
        if self.is_new(*names):
            self.faults[names] = self.restless(again, last, start, context, spent)

    def is_new(self, *names: str) -> bool:
        """Whether nothing was said of these rules so far."""
        self.found = True
        return names not in self.faults

    def raises(self, turn: int, step: Step, start: int, context: Context, spent: Mapping[int, Span]) -> Fault:
        finding = self.rules[turn].finding
        paid, more = self.passes.credits[step.place], self.passes.result(turn, step.place).quote.credits
        return Fault(
            "policy",
            f"`{finding.rule}` would raise the price from {paid} to {more} credits"
            f" for {self.shown(start, context, spent)}",
            finding.where,
            hint="narrow its condition, or say `may_cost_more: true`",
        )

    def restless(
        self, again: int, last: int, start: int, context: Context, spent: Mapping[int, Span]
    ) -> Fault:
        first, second = self.rules[again].finding, self.rules[last].finding
        request = self.shown(start, context, spent)
        if again == last:
            message = f"`{first.rule}` changes its own result again, for {request}"
        else:
            message = f"`{first.rule}` changes again what `{second.rule}` leaves, for {request}"
        return Fault("policy", message, first.where, hint="narrow one of the conditions, or swap the rules")

    def shown(self, place: int, context: Context, spent: Mapping[int, Span]) -> str:
        """A request, its context and what is spent, as a person would write them down."""
        told = {**self.passes.requests[place].inputs(), **context.example}
        told = {name: _plain(name, value) for name, value in told.items() if value is not None}
        del told["prompt"]
        told |= self.clock(context)
        told |= self.used(spent)
        shown = ", ".join(f"{name}: {value}" for name, value in told.items())
        return f"`{shown}`" if told else "a plain request"

    def used(self, spans: Mapping[int, Span]) -> dict[str, str]:
        """What is used of budgets whose share somebody reads."""
        budgets = self.passes.space.policy.budgets
        return {
            f"used of {budgets[place].budget.name}": f"{float(100 * span.share):.12g}%"
            for place, span in spans.items()
            if span.share
        }

    def clock(self, context: Context) -> dict[str, str]:
        """What a clock shows, as far as somebody reads it."""
        policy = self.passes.space.policy
        assert context.at is not None, "every context has an instant"
        local = context.at.astimezone(policy.zone)
        shown = {"time": f"{local:%H:%M}", "weekday": WEEKDAYS[local.weekday()]}
        return {name: shown[name] for name in CLOCK if name in policy.read}


def _plain(name: str, value: Any) -> Any:
    """A value as it may be told: a picture only as being there."""
    return "present" if name in OPEN_FIELDS else value
