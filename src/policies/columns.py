"""Many requests in columns, decided in the order of their rows, each after the holds of those before it.

Here belong the columns, what may be wrong with them and the answer. How rows are decided belongs to `rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat
from types import NoneType
from typing import Any, Final

from planner.errors import Fault, InputError, InvalidRequest
from planner.prices import PriceBook
from planner.request import CHOICES
from policies.budgets import Allowance, AskUsage
from policies.decision import Ruling, Verdict
from policies.downgrading import NO_FLOOR, Floor, check_floor
from policies.engine import Policy
from policies.moments import label_of
from policies.rows import REFERENCES, Rows, closed_request

_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys((*REFERENCES, "return_base64"), bool),
    **dict.fromkeys(("seed", "num_images"), int),
    **dict.fromkeys(CHOICES, str),
}
"""The columns there may be, each with what stands in it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of each row. Rows that are taken alike share a ruling.

    Where a budget speaks, its words are those to the first of the rows that share the ruling.
    """

    rulings: Sequence[Ruling]
    places: Sequence[int]
    """Of each row, the index of its ruling."""
    shadowed: Sequence[int]
    """Of each row, the index of what would have been decided; empty unless the policy is in shadow."""
    held: Mapping[Allowance, int]
    """What the allowed rows hold together, in the unit of the allowance."""

    def ruling(self, row: int) -> Ruling:
        return self.rulings[self.places[row]]

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict of each row."""
        found = [ruling.verdict for ruling in self.rulings]
        return [found[place] for place in self.places]

    @property
    def credits(self) -> list[int]:
        """What the final request of each row costs."""
        found = [ruling.quote.credits for ruling in self.rulings]
        return [found[place] for place in self.places]

    def jobs(self) -> Counter[Verdict]:
        """How many rows have each verdict."""
        found = Counter[Verdict]()
        for place, rows in Counter(self.places).items():
            found[self.rulings[place].verdict] += rows
        return found

    def allowed_credits(self) -> int:
        """What all allowed rows cost together."""
        by_place = Counter(self.places).items()
        found = ((self.rulings[place], rows) for place, rows in by_place)
        return sum(rule.quote.credits * rows for rule, rows in found if rule.verdict is Verdict.ALLOW)


def decide_columns(
    policy: Policy,
    fields: Mapping[str, Sequence[Any]],
    labels: Mapping[str, Sequence[str | None]] | None = None,
    *,
    book: PriceBook,
    at: datetime,
    usage: AskUsage,
    allow_rewrite: bool = True,
    floor: Floor = NO_FLOOR,
) -> Decided:
    """What `Policy.decide` says to every row, if each holds its credits where it is allowed.

    `fields` are columns of closed fields by name; None is an omitted field, and of a reference only
    whether there is one is told, by true or false. `usage` is asked once for each allowance and says what
    is used before the first row. Raises `InvalidRequest` where a column holds what the provider would
    refuse, `InputError` for labels that are no text or columns of different lengths, `NoPrice` outside the
    price book and `OperatorError` when the ledger cannot be asked.

    >>> from datetime import UTC
    >>> from planner.loading import shipped_prices
    >>> from policies.budgets import Usage
    >>> from policies.loading import parse_policy
    >>> policy = parse_policy(
    ...     '''
    ... policy: 1
    ... name: small
    ... otherwise: allow
    ... budgets:
    ...   - {name: all, limit: 10 credits, per: month}
    ... rules:
    ...   - {name: no-4k, when: {resolution: 4k}, deny: nobody needs 4k}
    ... ''', "small.yaml")
    >>> found = decide_columns(
    ...     policy, {"resolution": ["4k", "2k", "2k", "2k", "1k"], "generation_mode": ["quality"] * 5},
    ...     book=shipped_prices(), at=datetime(2026, 11, 22, tzinfo=UTC), usage=lambda allowance: Usage())
    >>> [verdict.value for verdict in found.verdicts], found.allowed_credits()
    (['deny', 'allow', 'allow', 'deny', 'deny'], 8)
    """
    if floor:
        check_floor(floor)
    labels = {} if labels is None else {name: labels[name] for name in policy.labels if name in labels}
    rows = _rows([*fields.values(), *labels.values()])
    run = Rows(policy, book, at, usage, allow_rewrite, floor)
    _check(fields, [name for name, column in fields.items() if not _is_right(name, column, run.fields)])
    _check_labels(labels, labels.keys() - {*run.labels})
    columns = [run.column(name, fields.get(name)) for name in run.fields]
    columns += [labels.get(name) for name in run.labels]
    filled = (repeat(None, rows) if column is None else column for column in columns)
    try:
        kinds = list(map(run.__getitem__, zip(*filled, strict=True)))
    except (InvalidRequest, TypeError):  # A list has no hash.
        _check(fields, fields)
        _check_labels(labels, labels)
        raise
    places = run.places(kinds)
    if policy.enforced:
        return Decided(run.rulings, places, (), run.levels.held())
    return Decided(run.rulings, [kind.as_asked for kind in kinds], places, run.levels.held())


# -- columns -------------------------------------------------------------------------------------


def _rows(columns: Sequence[Sequence[Any]]) -> int:
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise InputError("the columns are not equally long", code="bad_columns")
    return lengths.pop() if lengths else 0


def _check(fields: Mapping[str, Sequence[Any]], names: Iterable[str]) -> None:
    """Raise what is wrong in these columns; of each the first wrong row is told."""
    faults = [fault for name in names for fault in _faults(name, fields[name])]
    if faults:
        raise InvalidRequest(faults=faults)


def _check_labels(labels: Mapping[str, Sequence[Any]], names: Iterable[str]) -> None:
    """Raise `InputError` where one of these labels is no text."""
    for name in names:
        try:
            values: Iterable[Any] = {*labels[name]}
        except TypeError:
            values = labels[name]
        for value in values:
            if value is not None:
                label_of(name, value)


def _faults(name: str, column: Sequence[Any]) -> Iterator[Fault]:
    if name not in _TYPES:
        hint = "columns are " + ", ".join(_TYPES)
        yield Fault("unknown_field", f"`{name}` is not a column that rules read", field=name, hint=hint)
        return
    for row, value in enumerate(column):
        try:
            closed_request({name: value})
        except InvalidRequest as error:
            yield replace(error.faults[0], where=f"row {row}")
            return


def _is_right(name: str, column: Sequence[Any], heard: Sequence[str]) -> bool:
    """Whether a column is right at first sight; one that is heard is checked kind by kind.

    What is equal to a text is a text, but a set or a dict takes 1, 1.0 and True for the same.
    """
    wanted = _TYPES.get(name)
    if wanted is str and name in heard:
        return True
    if wanted is None or not set(map(type, column)) <= {wanted, NoneType}:
        return False
    if name in heard and name != "seed":  # Of many seeds that are alike one is heard.
        return True
    values = [value for value in column if value is not None]
    try:
        for value in (min(values), max(values)) if wanted is int and values else set(values):
            closed_request({name: value})
    except InvalidRequest:
        return False
    return True
