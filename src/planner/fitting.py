"""Which settings a whole workload fits under: credits at most, done by a deadline, losing least.

Here belong the groups of equal jobs, the bound on the finish time and the order in which losses count:
the most important jobs first, and for equally important ones the field that is to be given up last. What
one job may become is `ladders`', the arithmetic `optimise`'s, what would help where nothing fits
`relaxing`'s. Nothing here draws a service time: `capacity` does, afterwards.

The deadline enters as one stated bound, in whole milliseconds: what nine of ten jobs take, summed over all
jobs and spread over the slots, and then the longest of them; and the last start that the rate allows, and
then the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain, count, product, repeat

from planner.ladders import GiveUp, Option, options
from planner.latency import Seconds
from planner.optimise import Optimum, Program, Row, Solver, Stage
from planner.pacing import WINDOW_MARGIN, Limits
from planner.prices import PriceEntry


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Jobs that cost and take the same, matter the same, and are kept as they are for the same reasons."""

    cell: int
    rank: int = 0
    """Which class of importance they belong to; 0 is the most important."""
    kept_by: tuple[str, ...] = ()
    """What says that nothing of them is given up, such as `stage=production`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the workload shall fit into, and what may be given up for it."""

    give_up: GiveUp = field(default_factory=GiveUp)
    at_most_credits: int | None = None
    deadline_ms: int | None = None

    def allows(self, found: Fit) -> bool:
        """Whether it costs no more and is done in time."""
        costs = self.at_most_credits is None or found.credits <= self.at_most_credits
        return costs and (self.deadline_ms is None or found.bound_ms <= self.deadline_ms)


@dataclass(frozen=True, slots=True)
class Share:
    """So many jobs of a group take an option; the first option is what they are."""

    group: Group
    option: Option
    jobs: int

    @property
    def is_change(self) -> bool:
        return self.option.cell != self.group.cell


@dataclass(frozen=True, slots=True)
class Loss:
    """What one class of jobs loses of one field: steps down its ladder, over all its jobs."""

    rank: int
    field: str
    proof: Stage
    """How many, and that fewer are not possible."""

    @property
    def steps(self) -> int:
        return self.proof.value


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings under which everything fits and least is lost."""

    shares: tuple[Share, ...]
    losses: tuple[Loss, ...]
    """In the order in which they count; none where everything stays as it is."""
    credits: int
    work_ms: int
    bound_ms: int
    """When everything is done by the bound at the top of the module."""

    @property
    def changes(self) -> tuple[Share, ...]:
        return tuple(share for share in self.shares if share.is_change)

    @property
    def vector(self) -> tuple[int, ...]:
        """What is least, in this order: the losses, the credits, the milliseconds of work."""
        return (*(loss.steps for loss in self.losses), self.credits, self.work_ms)

    def cells(self, groups: Iterable[Group]) -> Iterator[int]:
        """The price cell of each job in file order: of a group, the last ones of the file give up most."""
        runs: dict[Group, list[repeat[int]]] = {}
        for share in self.shares:
            runs.setdefault(share.group, []).append(repeat(share.option.cell, share.jobs))
        turns = {group: chain.from_iterable(parts) for group, parts in runs.items()}
        return (next(turns[group]) for group in groups)


@dataclass(frozen=True, slots=True)
class Market:
    """What jobs cost, how long they take and what limits them: all that a fit depends on besides the jobs."""

    entry: PriceEntry
    by_cell: Sequence[Seconds]
    limits: Limits = field(default_factory=Limits)

    def bound_ms(self, jobs: int, work_ms: int, longest_ms: int) -> int:
        """When so much work is done at the latest that is counted with, rounded up."""
        if not jobs:
            return 0
        spread = -(-work_ms // self.limits.concurrency)
        return longest_ms + max(spread, self.windows_ms(jobs))

    def windows_ms(self, jobs: int) -> int:
        """When the last of so many jobs may start under the rate."""
        run = self.limits.run
        return (jobs - 1) // run.limit * round(run.seconds * WINDOW_MARGIN * 1000)


def fit(demand: Mapping[Group, int], wish: Wish, market: Market) -> Fit | None:
    """The settings that lose least among those that fit; None where none do.

    Losses count class by class, the most important jobs first, and within a class from the field that is
    given up last to the one that goes first: steps down its ladder, over all jobs. Between equal losses
    fewer credits decide, then less work, then that earlier groups stay as they are. What fits as it is
    stays as it is. Raises `InputError` with the code `missing_extra` where the solver is not installed.

    >>> from planner.loading import shipped_latency, shipped_prices
    >>> from planner.quoting import CELLS
    >>> entry = shipped_prices().entry_at()
    >>> market = Market(entry, shipped_latency().by_cell(entry))
    >>> pairs = Group(CELLS.index(("2k", "quality", False, 2)))
    >>> found = fit({pairs: 3}, Wish(GiveUp(("num_images", "resolution")), at_most_credits=19), market)
    >>> found.credits, [(CELLS[share.option.cell][3], share.jobs) for share in found.shares]
    (16, [(2, 1), (1, 2)])
    """
    asked = as_asked(demand, market)
    if wish.allows(asked):
        return asked
    choices = Choices.of(demand, wish.give_up, market)
    best = search(choices, wish, market, _objectives)
    return None if best is None else _fit(*best, market)


@dataclass(frozen=True, slots=True)
class Choices:
    """Every option of every group, numbered through in a fixed order."""

    groups: tuple[Group, ...]
    jobs: tuple[int, ...]
    options: tuple[tuple[Option, ...], ...]
    fields: tuple[str, ...]
    """What the steps of an option are steps of."""

    @classmethod
    def of(cls, demand: Mapping[Group, int], give_up: GiveUp, market: Market) -> Choices:
        groups = tuple(sorted(group for group, jobs in demand.items() if jobs))
        ladders = {
            cell: options(cell, give_up, market.entry, market.by_cell, market.limits)
            for cell in {group.cell for group in groups}
        }
        return cls(
            groups,
            tuple(demand[group] for group in groups),
            tuple(ladders[group.cell][: 1 if group.kept_by else None] for group in groups),
            give_up.order[::-1],
        )

    def within(self, longest_ms: int) -> Choices:
        """Those options that take no longer; a group may be left without any."""
        kept = tuple(
            tuple(option for option in options if option.work_ms <= longest_ms) for options in self.options
        )
        return Choices(self.groups, self.jobs, kept, self.fields)

    def each(self, figure: Callable[[Group, Option], int]) -> list[int]:
        """A figure of every option, as a row for the solver."""
        return [
            figure(group, option)
            for group, options in zip(self.groups, self.options, strict=True)
            for option in options
        ]

    def order(self) -> list[int]:
        """What an option is behind where nothing else decides: later groups change, and change little."""
        last = len(self.groups)
        return [
            place * (last - number)
            for number, options in enumerate(self.options)
            for place in range(len(options))
        ]

    def shares(self, counts: Sequence[int]) -> tuple[Share, ...]:
        """The answer of the solver as jobs that take options."""
        taken = iter(counts)
        return tuple(
            Share(group, option, jobs)
            for group, options in zip(self.groups, self.options, strict=True)
            for option in options
            if (jobs := next(taken))
        )


Objectives = Callable[[Choices], Iterable[Sequence[int]]]
Best = tuple[Choices, Optimum]


def search(choices: Choices, wish: Wish, market: Market, objectives: Objectives) -> Best | None:
    """The best answer that keeps the wish, over everything that the longest job may be.

    The bound adds the longest job to a sum, which is not linear. A span of lengths is therefore answered as
    if the longest job had the least length of it, which promises too much. For each objective the span that
    promises most is taken: where its own longest job keeps the deadline the promise is true, and nothing
    is better; else the span is split there, as the longest is either shorter, or at least as long and then
    leaves less time for the work. Spans that promise less than was found are left behind.
    """
    if not choices.groups:
        return choices, Optimum((), ())
    lengths = sorted({option.work_ms for options in choices.options for option in options})
    problem = _Problem(choices, wish, market, objectives, tuple(lengths))
    spans, stages = [_Span(problem, max(_shortest(choices)), lengths[-1])], list[Stage]()
    for place in range(len([*objectives(choices)])):
        spans = _best_spans(spans, place, [stage.value for stage in stages])
        if not spans:
            return None
        stages.append(spans[0].stage)
        for span in spans:
            span.fix(place, stages[-1].value)
    return spans[0].allowed, Optimum(spans[0].counts, tuple(stages))


def _best_spans(spans: Iterable[_Span], place: int, values: Sequence[int]) -> list[_Span]:
    """The spans that have the least of an objective, the one in which it is true first."""
    turn = count()
    queue = [(span.stage.value, next(turn), span) for span in spans if span.solve(place)]
    heapify(queue)
    while queue:
        value, _, span = heappop(queue)
        if span.is_true():
            return [span, *(other for promised, _, other in sorted(queue) if promised == value)]
        for part in span.parts(values):
            if part.solve(place):
                heappush(queue, (part.stage.value, next(turn), part))
    return []


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is searched, whatever the longest job."""

    choices: Choices
    wish: Wish
    market: Market
    objectives: Objectives
    lengths: tuple[int, ...]


class _Span:
    """All answers whose longest job lies within a span, as if it had the least length of the span."""

    def __init__(self, problem: _Problem, least_ms: int, most_ms: int, values: Sequence[int] = ()) -> None:
        self._problem, self._least_ms, self._most_ms = problem, least_ms, most_ms
        wish, market = problem.wish, problem.market
        self.allowed = problem.choices.within(_longest_ms(most_ms, wish, market, sum(problem.choices.jobs)))
        self.counts: tuple[int, ...] = ()
        self.stage = Stage(0, 0.0, 0.0)
        self._is_empty = not all(self.allowed.options)
        if self._is_empty:
            return
        self._objectives = [*problem.objectives(self.allowed)]
        limits = [*_limits(self.allowed, wish, market, least_ms)]
        options = [len(options) for options in self.allowed.options]
        self._solver = Solver(Program(problem.choices.jobs, options, limits))
        for place, value in enumerate(values):
            self.fix(place, value)

    def fix(self, place: int, value: int) -> None:
        """From now on no answer has more of that objective."""
        self._solver.fix(self._objectives[place], value)

    def solve(self, place: int) -> bool:
        """Find the least of an objective; False where the span has no answer."""
        if self._is_empty:
            return False
        costs = self._objectives[place]
        if self.counts and not any(costs):
            self.stage = Stage(0, 0.0, 0.0)
            return True
        found = self._solver.least(costs)
        if found is not None:
            self.counts, self.stage = found
        return found is not None

    def is_true(self) -> bool:
        """Whether the answer keeps the deadline with the longest job that it has."""
        deadline_ms = self._problem.wish.deadline_ms
        found = _fit(self.allowed, Optimum(self.counts, ()), self._problem.market)
        return deadline_ms is None or found.bound_ms <= deadline_ms

    def parts(self, values: Sequence[int]) -> list[_Span]:
        """The span in two, at the longest job of its answer; `values` are those of the objectives so far."""
        longest_ms = max(share.option.work_ms for share in self.allowed.shares(self.counts))
        shorter = [length for length in self._problem.lengths if self._least_ms <= length < longest_ms]
        spans = [(longest_ms, self._most_ms)] + ([(self._least_ms, shorter[-1])] if shorter else [])
        return [_Span(self._problem, least_ms, most_ms, values) for least_ms, most_ms in spans]


def _shortest(choices: Choices) -> list[int]:
    return [min(option.work_ms for option in options) for options in choices.options]


def _longest_ms(most_ms: int, wish: Wish, market: Market, jobs: int) -> int:
    """The longest that a job may take in a span so that the rate allows it, too."""
    return most_ms if wish.deadline_ms is None else min(most_ms, wish.deadline_ms - market.windows_ms(jobs))


def _limits(choices: Choices, wish: Wish, market: Market, longest_ms: int) -> Iterator[Row]:
    if wish.at_most_credits is not None:
        yield choices.each(lambda _, option: option.credits), wish.at_most_credits
    if wish.deadline_ms is not None:
        spare_ms = market.limits.concurrency * (wish.deadline_ms - longest_ms)
        yield choices.each(lambda _, option: option.work_ms), spare_ms


def _objectives(choices: Choices) -> Iterator[list[int]]:
    """What is to be least, in this order."""
    for rank, place in _loss_places(choices):
        yield _steps(choices, rank, place)
    yield choices.each(lambda _, option: option.credits)
    yield choices.each(lambda _, option: option.work_ms)
    yield choices.order()


def _loss_places(choices: Choices) -> list[tuple[int, int]]:
    """Classes and fields in the order in which their losses count."""
    return [*product(sorted({group.rank for group in choices.groups}), range(len(choices.fields)))]


def _steps(choices: Choices, rank: int, place: int) -> list[int]:
    return choices.each(lambda group, option: option.steps[place] if group.rank == rank else 0)


def _fit(choices: Choices, found: Optimum, market: Market) -> Fit:
    shares = choices.shares(found.counts)
    losses = zip(_loss_places(choices), found.stages, strict=False)
    work_ms = sum(share.option.work_ms * share.jobs for share in shares)
    longest_ms = max((share.option.work_ms for share in shares), default=0)
    return Fit(
        shares=shares,
        losses=tuple(Loss(rank, choices.fields[place], stage) for (rank, place), stage in losses),
        credits=sum(share.option.credits * share.jobs for share in shares),
        work_ms=work_ms,
        bound_ms=market.bound_ms(sum(choices.jobs), work_ms, longest_ms),
    )


def as_asked(demand: Mapping[Group, int], market: Market) -> Fit:
    """Every job as it is: what it costs and takes, with nothing lost."""
    choices = Choices.of(demand, GiveUp(), market)
    return _fit(choices, Optimum(choices.jobs, ()), market)
