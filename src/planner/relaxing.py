"""By how much a workload does not fit, and what would make it fit: each way alone, with its figure.

Here belongs what is asked when `fitting` finds nothing. A way out is one thing that is let go: more credits,
a later deadline, a lower floor, one more field to give up, or jobs that were kept as they are. Which way is
taken is for people to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from planner.fitting import Choices, Group, Market, Wish, search
from planner.ladders import GiveUp
from planner.rungs import LADDERS

Demand = Mapping[Group, int]


@dataclass(frozen=True, slots=True)
class WayOut:
    """One thing to let go, after which the workload fits."""

    kind: Literal["credits", "deadline", "both", "floor", "field", "keep"]
    name: str
    """The field, or what is kept; empty for credits and the deadline."""
    value: Any
    """The least that would do: credits, milliseconds, a pair of them, or how far down the field must go."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """What would be needed at the least, with all given up that may be, and what would make it fit."""

    wish: Wish
    least_credits: int
    """Whatever the deadline."""
    least_bound_ms: int
    """Whatever the credits."""
    ways_out: tuple[WayOut, ...]

    @property
    def short_credits(self) -> int:
        """Credits by which it does not fit; 0 where they are not what is short."""
        most = self.wish.at_most_credits
        return 0 if most is None else max(0, self.least_credits - most)

    @property
    def short_ms(self) -> int:
        """Milliseconds by which it does not fit; 0 where they are not what is short."""
        most = self.wish.deadline_ms
        return 0 if most is None else max(0, self.least_bound_ms - most)


def misfit(demand: Demand, wish: Wish, market: Market) -> Misfit:
    """Why nothing fits, and every single thing that would change it.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> from planner.quoting import CELLS
    >>> entry = shipped_prices().entry_at()
    >>> market = Market(entry, shipped_latency().by_cell(entry))
    >>> pair = Group(CELLS.index(("2k", "quality", False, 2)), 0, ("stage=production",))
    >>> found = misfit({pair: 3}, Wish(GiveUp(("num_images",)), at_most_credits=15), market)
    >>> found.short_credits, [(way.kind, way.name, way.value) for way in found.ways_out]
    (9, [('keep', 'stage=production', None), ('credits', '', 24)])
    """
    free = Wish(wish.give_up)
    credits = least_credits(demand, free, market) or 0
    ways_out = [*_ways_out(demand, wish, market)]
    if not ways_out:
        in_time_ms = _least_bound_ms(demand, replace(free, at_most_credits=credits), market)
        ways_out.append(WayOut("both", "", (credits, in_time_ms)))
    return Misfit(
        wish,
        least_credits=credits,
        least_bound_ms=_least_bound_ms(demand, free, market) or 0,
        ways_out=tuple(ways_out),
    )


def _ways_out(demand: Demand, wish: Wish, market: Market) -> Iterator[WayOut]:
    yield from _lower(demand, wish, market)
    for name in sorted({name for group in demand for name in group.kept_by}):
        if _fits(_released(demand, name), wish, market):
            yield WayOut("keep", name, None)
    if wish.deadline_ms is not None:
        later_ms = _least_bound_ms(demand, replace(wish, deadline_ms=None), market)
        if later_ms is not None:
            yield WayOut("deadline", "", later_ms)
    if wish.at_most_credits is not None:
        more = least_credits(demand, replace(wish, at_most_credits=None), market)
        if more is not None:
            yield WayOut("credits", "", more)


def _lower(demand: Demand, wish: Wish, market: Market) -> Iterator[WayOut]:
    """For each field the least step below its floor that suffices; one not in the order comes last in it."""
    order, floor = wish.give_up.order, wish.give_up.floor
    for name, ladder in LADDERS.items():
        named = name in order
        least = ladder.index(floor.get(name, ladder[0])) if named else len(ladder) - 1
        for value in reversed(ladder[:least]):
            lower = GiveUp(order if named else (*order, name), {**floor, name: value})
            if _fits(demand, replace(wish, give_up=lower), market):
                yield WayOut("floor" if named else "field", name, value)
                break


def _released(demand: Demand, name: str) -> Demand:
    """The jobs without that reason to keep them."""
    found: dict[Group, int] = {}
    for group, jobs in demand.items():
        freed = replace(group, kept_by=tuple(other for other in group.kept_by if other != name))
        found[freed] = found.get(freed, 0) + jobs
    return found


def _fits(demand: Demand, wish: Wish, market: Market) -> bool:
    return least_credits(demand, wish, market) is not None


def least_credits(demand: Demand, wish: Wish, market: Market) -> int | None:
    """The least that everything costs within a wish; None where the wish cannot be kept."""
    choices = Choices.of(demand, wish.give_up, market)
    found = search(choices, wish, market, lambda allowed: [_credits(allowed)])
    return None if found is None else sum(found[1].values)


def _least_bound_ms(demand: Demand, wish: Wish, market: Market) -> int | None:
    """The earliest deadline that can be kept within a wish that has none; None where it cannot be kept.

    The longest job may be any of the lengths there are; the search ends where the work that is needed
    at the least, with no length excluded, could not be done earlier any more.
    """
    choices = Choices.of(demand, wish.give_up, market)
    jobs, best = sum(choices.jobs), None
    least_work_ms = _least_work(choices, wish, market)
    if least_work_ms is None:
        return None
    for longest_ms in sorted({option.work_ms for options in choices.options for option in options}):
        if best is not None and market.bound_ms(jobs, least_work_ms, longest_ms) >= best:
            break
        allowed = choices.within(longest_ms)
        work_ms = _least_work(allowed, wish, market) if all(allowed.options) else None
        if work_ms is not None:
            bound_ms = market.bound_ms(jobs, work_ms, longest_ms)
            best = bound_ms if best is None else min(best, bound_ms)
    return best or 0


def _least_work(choices: Choices, wish: Wish, market: Market) -> int | None:
    found = search(choices, wish, market, lambda allowed: [_work(allowed)])
    return None if found is None else sum(found[1].values)


def _credits(choices: Choices) -> Sequence[int]:
    return choices.each(lambda _, option: option.credits)


def _work(choices: Choices) -> Sequence[int]:
    return choices.each(lambda _, option: option.work_ms)
