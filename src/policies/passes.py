"""Rewriting as tables: what one pass of all rules makes of every request of a space at once.

Here belong the tables and the pass. A rule is a table from requests to requests; a pass in one context
is one look-up per rule for all requests together. Which contexts there are belongs to `space`; what is
concluded from a pass belongs to `stability` and to proofs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from planner.prices import PriceEntry
from planner.quoting import price_cell, quotes
from policies.contexts import Context, Masks
from policies.rewriting import Rewritten, applied, proposed
from policies.rules import Facts, facts_of
from policies.space import Space
from policies.spans import Span

REWRITES: Final = 0
BUDGETS: Final = 1
"""Which matcher of a space is which."""

Places = Sequence[int]
"""A place of the space for each place of the space; bytes where they fit, because bytes translate."""


Ways = dict[tuple[int, ...], tuple["Variant", Mapping[int, Span]]]
Usage = tuple[tuple[int, ...], Sequence[Sequence[Span]], Ways]
"""In which budgets requests count, what may be spent of each, and the ways that were worked out."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a rule does to one request, if it fires there."""

    place: int
    """Where it leads."""
    moves: bool = False
    raises: bool = False
    """It would raise the price and may not."""
    stuck: bool = False
    """It finds nothing that fits."""

    @property
    def denies(self) -> bool:
        return self.raises or self.stuck


@dataclass(frozen=True, slots=True)
class Table:
    """A rule in one context: where each request goes, and which ones it moves or denies."""

    places: Places
    moved: Places
    """1 where the rule changes the request, else 0."""
    denied: Places
    """1 where it fires and denies, else 0."""
    restless: int
    """A bit for each request that it moves or denies."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass makes of every request."""

    places: Places
    """Where each request ends."""
    denied: int
    """A bit for each request that a rule denies on the way."""
    restless: int
    """A bit for each place of the space at which some rule would still change something."""
    fired: int
    """A bit for each rule that changes or denies some request on its way."""

    def is_denied(self, start: int) -> bool:
        return bool(self.denied >> start & 1)

    def is_restless(self, place: int) -> bool:
        return bool(self.restless >> place & 1)

    def is_stopped(self, start: int) -> bool:
        """Whether a request is denied by the rules that rewrite, or by what becomes of it.

        Where a result would be changed again something was changed before: the first rule that would do
        so was tried on the way as well.
        """
        return self.is_denied(start) or self.is_restless(self.places[start])


class Variant:
    """What each request lets hold of each matcher, and what was worked out under it."""

    __slots__ = ("masks", "passes", "tables")

    def __init__(self, masks: tuple[tuple[int, ...], ...]) -> None:
        self.masks = masks
        self.tables: dict[tuple[int, int], Table | None] = {}
        """By a rule and those of its clauses that hold in a context."""
        self.passes: dict[int, Passed] = {}


class Passes:
    """The rewriting rules of a policy over all requests of a space, under one price entry.

    The rules are those of the space's first matcher, the budgets those of its second.
    """

    def __init__(self, space: Space, entry: PriceEntry) -> None:
        self.space = space
        self.entry = entry
        self.rules = space.policy.rewrites
        self.prices = quotes(entry)
        self.requests = space.requests
        self.facts = tuple(self._facts(place) for place in range(len(self.requests)))
        self.credits = tuple(facts.credits for facts in self.facts)
        self.masks: tuple[tuple[int, ...], ...] = tuple(
            tuple(space.request_masks(at, facts) for facts in self.facts) for at in range(len(space.matchers))
        )
        """For each matcher, what each request lets hold, apart from context and usage."""
        self.places = {space.place(request): place for place, request in enumerate(self.requests)}
        self.plain = Variant(self.masks)
        """Where nobody reads what is used of a budget."""
        self._variants: dict[Any, Variant] = {}
        self._usage: dict[Any, Usage] = {}
        self._steps: dict[tuple[int, int], Step] = {}
        self._tables: dict[tuple[int, bytes], Table | None] = {}
        self._same = self._pack(range(len(self.requests)))

    def _facts(self, place: int) -> Facts:
        request = self.requests[place]
        rate = self.space.policy.rate_microusd
        return facts_of(request, self.prices[price_cell(request)], {}, self.entry.start, rate)

    def _pack(self, places: Sequence[int]) -> Places:
        """As bytes where they fit, padded so that they translate any byte."""
        count = len(self.requests)
        return bytes(places) + bytes(256 - count) if count <= 256 else tuple(places)

    def through(self, places: Places, table: Places) -> Places:
        """The table looked up for each place."""
        if isinstance(places, bytes) and isinstance(table, bytes):
            return places.translate(table)
        return tuple(map(table.__getitem__, places))

    def step(self, rule: int, place: int) -> Step:
        """What a rule does to a request at that place, if it fires."""
        found = self._steps.get((rule, place))
        if found is None:
            found = self._steps[rule, place] = self._try(rule, place)
        return found

    def _try(self, turn: int, place: int) -> Step:
        rule, request = self.rules[turn], self.requests[place]
        changed = proposed(rule, self.facts[place], request, self.prices)
        if changed is None:
            return Step(place, stuck=True)
        if not changed:
            return Step(place)
        result = applied(rule.name, changed, request, self.prices)
        if result.quote.credits > self.credits[place] and not rule.may_cost_more:
            return Step(place, raises=True)
        return Step(self.places[self.space.place(result.request)], moves=True)

    def run(self, variant: Variant, context: int) -> Passed:
        """One pass over all requests in a context, by what it lets hold of the rules."""
        found = variant.passes.get(context)
        if found is None:
            found = variant.passes[context] = self._run(variant, context)
        return found

    def _run(self, variant: Variant, context: int) -> Passed:
        places, denied, restless, fired = self._same, 0, 0, 0
        for turn, rule in enumerate(self.rules):
            held = context & self.space.matchers[REWRITES].span(turn)
            table = self._table(variant, turn, held) if held else None
            if table is None:
                continue
            stopped = self.through(places, table.denied)
            if 1 in stopped or 1 in self.through(places, table.moved):
                fired |= 1 << turn
            if not rule.shadow:
                denied |= self._bits(stopped) if 1 in stopped else 0
                restless |= table.restless
                places = self.through(places, table.places)
        return Passed(places, denied, restless, fired)

    def walk(self, variant: Variant, context: int, start: int) -> Iterator[tuple[int, Step]]:
        """The rules that change or deny one request, one after the other, as the engine tries them."""
        place = start
        for turn, rule in enumerate(self.rules):
            held = context & self.space.matchers[REWRITES].span(turn)
            if rule.shadow or not variant.masks[REWRITES][place] & held:
                continue
            step = self.step(turn, place)
            if step.moves or step.denies:
                yield turn, step
                place = step.place

    def result(self, turn: int, place: int) -> Rewritten:
        """What a rule makes of a request, even where it may not."""
        rule, request = self.rules[turn], self.requests[place]
        changed = proposed(rule, self.facts[place], request, self.prices)
        return applied(rule.name, changed or {}, request, self.prices)

    def _table(self, variant: Variant, turn: int, held: int) -> Table | None:
        """The rule where those of its clauses hold in the context; None where it does nothing at all."""
        if (turn, held) not in variant.tables:
            firing = bytes(map(bool, map(held.__and__, variant.masks[REWRITES])))
            if (turn, firing) not in self._tables:
                self._tables[turn, firing] = self._tabled(turn, firing)
            variant.tables[turn, held] = self._tables[turn, firing]
        return variant.tables[turn, held]

    def _tabled(self, turn: int, firing: bytes) -> Table | None:
        steps = [self.step(turn, place) if fires else Step(place) for place, fires in enumerate(firing)]
        if not any(step.moves or step.denies for step in steps):
            return None
        moved = self._pack([step.moves for step in steps])
        denied = self._pack([step.denies for step in steps])
        restless = self._bits(moved) | self._bits(denied)
        return Table(self._pack([step.place for step in steps]), moved, denied, restless)

    def _bits(self, flags: Places) -> int:
        found = 0
        for place in range(len(self.requests)):
            if flags[place]:
                found |= 1 << place
        return found

    # -- usage -----------------------------------------------------------------------------------

    def counted(self, context: Context, budgets: Sequence[int]) -> tuple[int, ...]:
        """For each request a bit for each of those budgets that it counts in."""
        matcher = self.space.matchers[BUDGETS]
        spans = [(1 << place, matcher.span(place) & context.masks[BUDGETS]) for place in budgets]
        return tuple(sum(bit for bit, span in spans if mask & span) for mask in self.masks[BUDGETS])

    def variants(self, context: Context) -> Iterator[tuple[Variant, Mapping[int, Span]]]:
        """Every way in which what is used can be told apart, with what is spent of each budget then."""
        used = self.space.used
        if not used:
            yield self.plain, {}
            return
        limits = tuple(self.space.limit(place, context) for place in used)
        kind = context.masks[BUDGETS], limits
        if kind not in self._usage:
            choices = [self.space.spans(place, limit) for place, limit in zip(used, limits, strict=True)]
            self._usage[kind] = self.counted(context, used), choices, {}
        counted, spans, known = self._usage[kind]
        for turns in product(*(range(len(span)) for span in spans)):
            if turns not in known:
                chosen = (span[turn] for span, turn in zip(spans, turns, strict=True))
                spent = dict(zip(used, chosen, strict=True))
                known[turns] = self._variant(counted, spent), spent
            yield known[turns]

    def _variant(self, counted: tuple[int, ...], spent: Mapping[int, Span]) -> Variant:
        """What each request lets hold with that usage: a share speaks only where the request counts."""
        there = {place: self.space.used_masks(place, span.share) for place, span in spent.items()}
        key = counted, tuple(there.values())
        found = self._variants.get(key)
        if found is None:
            absent = {place: self.space.used_masks(place, None) for place in spent}
            masks = [
                tuple(
                    self._used(mask, at, bits, there, absent) for mask, bits in zip(row, counted, strict=True)
                )
                for at, row in enumerate(self.masks)
            ]
            found = self._variants[key] = Variant(tuple(masks))
        return found

    @staticmethod
    def _used(
        mask: int, matcher: int, counted: int, there: Mapping[int, Masks], absent: Mapping[int, Masks]
    ) -> int:
        for place, masks in there.items():
            mask &= (masks if counted >> place & 1 else absent[place])[matcher]
        return mask
