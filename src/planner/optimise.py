"""Exact choices in whole numbers: how many jobs of each group take which option, least in a stated order.

Here belongs the only door to the solver, HiGHS (the extra `fit`). What is given up, priced or timed is not
known here: groups, options, limits and objectives are whole numbers, and so are the answers. The solver
reckons in floats and is not believed: every answer is rounded and held against every row in whole numbers,
and an optimum counts as proven when the solver's bound leaves no room for a smaller whole number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from planner.errors import InputError, PlannerError

if TYPE_CHECKING:
    from types import ModuleType

BOUND_SLACK: Final = 1e-6
SLACK_SHARE: Final = 1e-10
"""How far a float bound may lie above what it stands for: a little, and a share of its size."""

Row = tuple[Sequence[int], int]
"""What each option uses of something, and the most that may be used of it."""


class NotProved(PlannerError):
    """The solver's answer does not hold in whole numbers, so there is none."""

    code = "not_proved"
    exit_code = 3


@dataclass(frozen=True, slots=True)
class Program:
    """Groups of equal jobs, each with its options, and limits over all of them.

    Options of all groups are numbered through: those of the first group, then those of the second, …
    """

    jobs: Sequence[int]
    """Of each group."""
    options: Sequence[int]
    """How many options each group has; every job takes one of them."""
    limits: Sequence[Row] = ()

    def holds(self, counts: Sequence[int]) -> bool:
        """Whether so many jobs for each option are an answer, in whole numbers."""
        places = iter(counts)
        for jobs, options in zip(self.jobs, self.options, strict=True):
            taken = [next(places) for _ in range(options)]
            if min(taken) < 0 or sum(taken) != jobs:
                return False
        return all(total(uses, counts) <= most for uses, most in self.limits)


@dataclass(frozen=True, slots=True)
class Stage:
    """One objective, minimised while all before it keep their values."""

    value: int
    bound: float
    """What the solver proved that no answer can be below."""
    gap: float
    """The solver's own figure for how far the two lie apart, relative to the value."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """How many jobs take each option, and the proof of each objective."""

    counts: tuple[int, ...]
    stages: tuple[Stage, ...]

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(stage.value for stage in self.stages)


def total(each: Sequence[int], counts: Sequence[int]) -> int:
    """The sum over all jobs of what each option has."""
    return sum(one * count for one, count in zip(each, counts, strict=True) if count)


class Solver:
    """One program in HiGHS, to which rows are added as objectives get their values.

    Raises `InputError` with the code `missing_extra` where the solver is not installed.

    >>> solver = Solver(Program(jobs=[3], options=[2], limits=[([5, 2], 10)]))
    >>> counts, stage = solver.least([0, 1])
    >>> counts, stage.value, stage.gap
    ((1, 2), 2, 0.0)
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._fixed: list[Row] = []
        self._highspy = _highspy()
        self._model = self._highspy.Highs()
        for name, value in _SETTINGS.items():
            self._model.setOptionValue(name, value)
        self._fill()

    def _fill(self) -> None:
        model, column, rows = self._model, 0, []
        for jobs, options in zip(self._program.jobs, self._program.options, strict=True):
            places = list(range(column, column + options))
            rows.append((places, jobs))
            for _ in places:
                model.addVar(0.0, float(jobs))
            column += options
        integer = self._highspy.HighsVarType.kInteger
        model.changeColsIntegrality(column, list(range(column)), [integer] * column)
        for places, jobs in rows:
            model.addRow(float(jobs), float(jobs), len(places), places, [1.0] * len(places))
        for row in self._program.limits:
            self._limit(row)

    def _limit(self, row: Row) -> None:
        """A row in its smallest whole numbers: floats are exact where they are small."""
        uses, most = row
        common = math.gcd(*uses) or 1
        places = [place for place, use in enumerate(uses) if use]
        values = [float(uses[place] // common) for place in places]
        self._model.addRow(-self._highspy.kHighsInf, float(most // common), len(places), places, values)

    def least(self, costs: Sequence[int]) -> tuple[tuple[int, ...], Stage] | None:
        """An answer that has the least of one objective, and the proof; None where there is no answer.

        Raises `NotProved` where what the solver says cannot be believed.
        """
        model, common = self._model, math.gcd(*costs) or 1
        model.changeColsCost(len(costs), list(range(len(costs))), [float(cost // common) for cost in costs])
        model.run()
        status = model.getModelStatus()
        if status == self._highspy.HighsModelStatus.kInfeasible:
            return None
        if status != self._highspy.HighsModelStatus.kOptimal:
            raise NotProved(f"the solver ended with `{model.modelStatusToString(status)}`")
        counts = tuple(round(value) for value in model.getSolution().col_value)
        value, info = total(costs, counts), model.getInfo()
        bound, gap = float(info.mip_dual_bound), float(info.mip_gap)
        self._check(counts, value // common, bound)
        return counts, Stage(value, bound * common, gap)

    def fix(self, costs: Sequence[int], value: int) -> None:
        """From now on no answer has more of an objective than that."""
        self._fixed.append((costs, value))
        self._limit((costs, value))

    def _check(self, counts: Sequence[int], value: int, bound: float) -> None:
        """Hold an answer against every row, and its value against the bound, in whole numbers."""
        kept = all(total(costs, counts) <= most for costs, most in self._fixed)
        least = math.ceil(bound - BOUND_SLACK - SLACK_SHARE * abs(bound))
        if not kept or not self._program.holds(counts):
            raise NotProved("the solver's answer does not hold in whole numbers")
        if value != least:
            raise NotProved(f"the solver found {value} and proved only {bound}")


_SETTINGS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,
    "random_seed": 0,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 0.0,
    "mip_feasibility_tolerance": 1e-9,
    "primal_feasibility_tolerance": 1e-9,
}
"""One thread and a fixed seed: the same program has the same answer, whoever asks."""


def _highspy() -> ModuleType:
    try:
        import highspy
    except ImportError:
        message = "finding the settings that fit needs the extra `fit`"
        hint = "pip install 'fashn-planner[fit]'"
        raise InputError(message, code="missing_extra", hint=hint) from None
    found: ModuleType = highspy
    return found
