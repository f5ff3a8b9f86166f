"""Many conditions answered at once, at a cost that does not depend on how many there are.

Here belongs the compiled form of conditions. Each is split into clauses, of which one has to hold; a
clause asks one question of each of some attributes. An attribute becomes a column: a table from the
cells of its values to a bit mask of the clauses that are content with such a value. The clauses that
hold for a request are the AND of one mask from each column. The tree walk that this must agree with
stands in the tests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, product
from typing import Any, Final

from planner.errors import OperatorError
from policies.conditions import AllOf, AnyOf, Between, Compare, Condition, Not, OneOf, Sent, leaves

MOST_CLAUSES: Final = 256
"""How many clauses one condition may split into; a policy that needs more is refused when loaded."""


class TooManyClauses(Exception):
    """A condition nests so many choices that it cannot be compiled."""


@dataclass(frozen=True, slots=True)
class Question:
    """A condition over a single column, and the answer it has to have."""

    column: str
    condition: Condition
    wanted: bool

    def holds(self, value: Any) -> bool:
        return holds(self.condition, value) is self.wanted

    def values(self) -> set[Any]:
        """Every value at which the answer can change."""
        found: set[Any] = set()
        for leaf in leaves(self.condition):
            match leaf:
                case OneOf(values=values):
                    found |= values
                case Compare(bound=bound):
                    found.add(bound)
                case Between(start=start, end=end):
                    found |= {start, end}
                case Sent():
                    found |= {True, False}
        return found


Clause = tuple[Question, ...]
"""Questions that all have to be answered as wanted."""


def holds(condition: Condition, value: Any) -> bool:
    """Whether a condition over a single column holds for a value of that column."""
    match condition:
        case Not(inner):
            return not holds(inner, value)
        case AllOf(parts):
            return all(holds(part, value) for part in parts)
        case AnyOf(parts):
            return any(holds(part, value) for part in parts)
        case _:
            return condition.holds(value)


def clauses(condition: Condition | None, wanted: bool = True) -> list[Clause]:
    """The clauses of which one has to hold, so that the condition is as wanted; None always holds.

    Raises `TooManyClauses`.
    """
    if condition is None:
        return [()]
    columns = {leaf.column for leaf in leaves(condition)}
    if len(columns) == 1:
        return [(Question(columns.pop(), condition, wanted),)]
    match condition:
        case Not(inner):
            return clauses(inner, not wanted)
        case AllOf(parts) | AnyOf(parts):
            split = [clauses(part, wanted) for part in parts]
            together = isinstance(condition, AllOf) is wanted
            found = _both(split) if together else list(chain.from_iterable(split))
            if len(found) > MOST_CLAUSES:
                raise TooManyClauses
            return found
        case _:
            raise AssertionError("a leaf has one column")


def _both(split: Sequence[Sequence[Clause]]) -> list[Clause]:
    """One clause for every way to take one of each."""
    found: list[Clause] = [()]
    for choices in split:
        if len(found) * len(choices) > MOST_CLAUSES:
            raise TooManyClauses
        found = [(*before, *after) for before, after in product(found, choices)]
    return found


Read = Callable[[Any], Any]
"""Reads a column's value from facts; what it raises means that the value is not known."""

_OTHER: Final = object()
"""A value that no condition names; one cell stands for all of them."""


class ValueColumn:
    """A column that is asked for single values: one cell for each, and one for all the others."""

    __slots__ = ("_masks", "_other", "asking", "name", "read")

    def __init__(self, name: str, read: Read, mind: _Mind) -> None:
        self.name = name
        self.read = read
        self.asking = mind.asking
        self._other = mind.mask(_OTHER)
        self._masks = mind.masks_by_value(self._other)

    def values(self) -> set[Any]:
        return {*self._masks}

    def mask(self, value: Any) -> int:
        return self._masks.get(value, self._other)

    def mask_of_share(self, part: int, whole: int) -> int:
        """What `mask` says of `part / whole`."""
        return self.mask(Fraction(part, whole))


class RangeColumn:
    """A column that is compared with bounds: a cell for each bound and each span between two.

    A cell's mask is made when a value first falls into it.
    """

    __slots__ = ("_absent", "_bounds", "_masks", "_mind", "_ratios", "asking", "name", "read")

    def __init__(self, name: str, read: Read, mind: _Mind) -> None:
        self.name = name
        self.read = read
        self.asking = mind.asking
        self._mind = mind
        self._bounds = sorted(mind.values())
        self._masks: list[int | None] = [None] * (2 * len(self._bounds) + 1)
        self._ratios = [one.as_integer_ratio() for one in self._bounds if isinstance(one, Fraction)]
        self._absent = mind.mask(None)

    def values(self) -> set[Any]:
        return self._mind.values()

    def mask(self, value: Any) -> int:
        if value is None:
            return self._absent
        cell = bisect_left(self._bounds, value) + bisect_right(self._bounds, value)
        found = self._masks[cell]
        if found is None:
            self._masks[cell] = found = self._mind.mask(value)
        return found

    def mask_of_share(self, part: int, whole: int) -> int:
        """What `mask` says of `part / whole`, without making a fraction of it."""
        cell = 0
        for numerator, denominator in self._ratios:
            left, right = part * denominator, numerator * whole
            if left > right:
                cell += 2
            else:
                cell += left == right
                break
        found = self._masks[cell]
        return self.mask(Fraction(part, whole)) if found is None else found


class _Mind:
    """What the clauses ask of one column, the questions of each by its bit."""

    def __init__(self, everything: int, questions: Mapping[int, Sequence[Question]]) -> None:
        self.questions = questions
        self.asking = sum(questions)
        self.content = everything & ~self.asking

    def mask(self, value: Any) -> int:
        """The clauses that a value of this column lets hold; those that do not ask are content."""
        return self.content | sum(bit for bit, asked in self.questions.items() if _all_hold(asked, value))

    def masks_by_value(self, other: int) -> dict[Any, int]:
        """The masks of all values that are named, from that of any other value.

        A clause has one answer for all values that it does not name itself.
        """
        found = dict.fromkeys(self.values(), other)
        for bit, asked in self.questions.items():
            for value in _named(asked):
                if _all_hold(asked, value) is not bool(other & bit):
                    found[value] ^= bit
        return found

    def values(self) -> set[Any]:
        """Every value at which an answer can change."""
        return set().union(*map(_named, self.questions.values()))

    @property
    def ranged(self) -> bool:
        return any(
            isinstance(leaf, Compare | Between)
            for asked in self.questions.values()
            for question in asked
            for leaf in leaves(question.condition)
        )


def _all_hold(asked: Sequence[Question], value: Any) -> bool:
    return all(question.holds(value) for question in asked)


def _named(asked: Sequence[Question]) -> set[Any]:
    return {value for question in asked for value in question.values()}


Column = ValueColumn | RangeColumn


class Matcher:
    """Conditions in their order, compiled; says which of them hold."""

    __slots__ = ("_owner", "_span", "columns", "everything")

    def __init__(self, conditions: Sequence[Condition | None], read: Callable[[str], Read]) -> None:
        self._owner: list[int] = []
        """The condition that a clause belongs to, by its bit."""
        self._span: list[int] = []
        """The bits of a condition's clauses."""
        asked: dict[str, dict[int, list[Question]]] = {}
        for owner, condition in enumerate(conditions):
            first = len(self._owner)
            for clause in clauses(condition):
                for question in clause:
                    of_column = asked.setdefault(question.column, {})
                    of_column.setdefault(1 << len(self._owner), []).append(question)
                self._owner.append(owner)
            self._span.append((1 << len(self._owner)) - (1 << first))
        self.everything = (1 << len(self._owner)) - 1
        """The mask of all clauses."""
        self.columns = [self._column(name, read(name), questions) for name, questions in asked.items()]

    def _column(self, name: str, read: Read, questions: Mapping[int, Sequence[Question]]) -> Column:
        mind = _Mind(self.everything, questions)
        return RangeColumn(name, read, mind) if mind.ranged else ValueColumn(name, read, mind)

    def match(self, facts: Any) -> tuple[list[int], list[int]]:
        """The conditions that hold, and those that cannot be judged, both in order.

        A column that cannot be read leaves in doubt those that ask it and hold in every other
        respect. A ledger that cannot be reached is not a doubt: its error passes through.
        """
        mask, asking = self.everything, 0
        for column in self.columns:
            try:
                mask &= column.mask(column.read(facts))
            except OperatorError:
                raise
            except Exception:
                asking |= column.asking
        if not asking:
            return self.owners(mask), []
        held = self.owners(mask & ~asking)
        return held, [owner for owner in self.owners(mask & asking) if owner not in held]

    def span(self, condition: int) -> int:
        """The bits of all clauses of one condition."""
        return self._span[condition]

    def owners(self, mask: int) -> list[int]:
        """The conditions of which a clause stands in the mask, in order."""
        found = []
        while mask:
            owner = self._owner[(mask & -mask).bit_length() - 1]
            mask &= ~self._span[owner]
            found.append(owner)
        return found
