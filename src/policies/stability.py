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
from planner.request import OPEN_FIELDS, ModelCreateRequest
from policies.compiled import Compiled
from policies.passes import REWRITES, Passes, Step, Variant
from policies.space import Context, Space, Span, TooLarge

MOST_CONTEXTS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Stability:
    """What the examination found."""

    settled: tuple[PriceEntry, ...]
    """The entries for which no rewrite raises a price unasked and every result stays as it is."""
    faults: tuple[Fault, ...]


def examine(policy: Compiled, entries: Sequence[PriceEntry]) -> Stability:
    """Every rewriting rule over the whole space, under each price entry."""
    if not policy.rewrites:
        return Stability(tuple(entries), ())
    space = Space([policy], [policy.rewrite_matcher, policy.budget_matcher], limits=policy.reads_usage)
    try:
        contexts = space.contexts(MOST_CONTEXTS)
        settled, faults = [], dict[tuple[str, ...], Fault]()
        for entry in entries:
            found = _Examination(Passes(space, entry)).faults(contexts)
            faults.update(found)
            if not found:
                settled.append(entry)
    except TooLarge:
        return Stability((), ())
    return Stability(tuple(settled), tuple(faults.values()))


class _Examination:
    """The passes of one price entry, and the faults that they show."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.rules = passes.rules
        self.found: dict[tuple[str, ...], Fault] = {}
        self.seen: set[tuple[int, int]] = set()

    def faults(self, contexts: Sequence[Context]) -> dict[tuple[str, ...], Fault]:
        """One fault for each rule that raises a price and each pair that does not come to rest."""
        for context in contexts:
            for variant, spent in self.passes.variants(context):
                place = id(variant), context.masks[REWRITES]
                if place not in self.seen:
                    self.seen.add(place)
                    self.look(variant, context, spent)
        return self.found

    def look(self, variant: Variant, context: Context, spent: Mapping[int, Span]) -> None:
        """Every request in one context that a rule denies on the way, or that does not come to rest."""
        passed = self.passes.run(variant, context.masks[REWRITES])
        if not passed.denied and not passed.restless:
            return
        for start, end in enumerate(passed.places[: len(self.passes.requests)]):
            if passed.is_denied(start) or (end != start and passed.is_restless(end)):
                self.walk(variant, context, spent, start)

    def walk(self, variant: Variant, context: Context, spent: Mapping[int, Span], start: int) -> None:
        """One request step by step, to name the rules that are at fault."""
        place, last = start, -1
        for turn, step in self.passes.walk(variant, context.masks[REWRITES], start):
            if step.raises:
                self.found.setdefault(
                    (self.rules[turn].name,), self.raises(turn, step, start, context, spent)
                )
            if step.denies:
                return
            place, last = step.place, turn
        if last >= 0:
            for turn, _ in self.passes.walk(variant, context.masks[REWRITES], place):
                names = self.rules[turn].name, self.rules[last].name
                self.found.setdefault(names, self.restless(turn, last, start, context, spent))
                return

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
        inputs = _inputs(self.passes.requests[place])
        told = {**inputs, **{name: value for name, value in context.example.items() if value is not None}}
        if isinstance(minute := told.get("time"), int):
            told["time"] = f"{minute // 60:02}:{minute % 60:02}"
        for budget, span in spent.items():
            if span.share:
                name = self.passes.space.policy.budgets[budget].budget.name
                told[f"used of {name}"] = f"{float(100 * span.share):g}%"
        return (
            "`" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "`"
            if told
            else "a plain request"
        )


def _inputs(request: ModelCreateRequest) -> dict[str, Any]:
    """What is sent but the prompt; a picture only as being there."""
    inputs = {name: value for name, value in request.inputs().items() if name != "prompt"}
    return {name: "present" if name in OPEN_FIELDS else value for name, value in inputs.items()}
