"""The fit of a workload file: what its flags mean, and how many jobs there are of each group.

Here belong reading the flags of `wishes` and the pass over the file that counts its groups. What fits is
the planner's `fitting`; how it is shown belongs to `fitted`, the changed file to `applying`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from planner.capacity import Capacity
from planner.columns import column_name
from planner.errors import Fault, InputError, nearest
from planner.fitting import Fit, Group, Market, Share, Wish, as_asked, fit
from planner.frontier import Point, finish, frontier
from planner.ladders import GiveUp
from planner.money import CreditPrice
from planner.quoting import CELLS, price_cell, quotes
from planner.relaxing import Misfit, misfit
from planner.rungs import LADDERS
from policies.cli.durations import seconds_of
from policies.cli.planning import Plan
from policies.cli.wishes import Flags
from policies.values import amount_of

Read = TypeVar("Read")

OTHERS: Final = "the others"
"""The jobs that `--priority` does not name."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The fit of a file, or why there is none."""

    wish: Wish
    asked: Fit
    found: Fit | Misfit
    finish: Capacity | None
    """How long a batch with these settings takes; None where nothing fits."""
    order: Sequence[Group]
    """The group of each job, in file order."""
    classes: Sequence[str]
    """The values that `--priority` names, and `OTHERS`."""
    market: Market
    points: tuple[Point, ...]
    """The best settings for less money and when a batch with them is done, where that was asked for."""

    def credits_asked(self, share: Share) -> int:
        """What the jobs of a share cost as they were asked for."""
        return quotes(self.market.entry)[share.group.cell].credits * share.jobs


def fit_plan(plan: Plan, flags: Flags, *, with_frontier: bool) -> Fitted:
    """The fit of a planned file, which is read once more where labels matter; raises `InputError`."""
    wish, keeps, priority = _read(flags, plan.price)
    market = Market(plan.entry, plan.by_cell)
    order = _groups(plan, keeps, priority)
    demand = Counter(order)
    found = fit(demand, wish, market)
    return Fitted(
        wish=wish,
        asked=as_asked(demand, market),
        found=misfit(demand, wish, market) if found is None else found,
        finish=finish(found, order, market) if found else None,
        order=order,
        classes=(*priority[1], OTHERS),
        market=market,
        points=frontier(demand, order, wish.give_up, market) if with_frontier else (),
    )


# -- flags ----------------------------------------------------------------------------------------

Keeps = Sequence[tuple[str, str]]
"""Labels and the values that keep a job as it is."""
Priority = tuple[str, Sequence[str]]
"""A label, and its values in the order of their importance."""


def _read(flags: Flags, price: CreditPrice) -> tuple[Wish, Keeps, Priority]:
    """What the flags say; every fault of them at once."""
    faults: list[Fault] = []
    if flags.at_most is None and flags.deadline is None and flags.chart is None:
        hint = "name --at-most or --deadline"
        faults.append(Fault("usage", "there is nothing to fit into", hint=hint))
    floor = dict(_pairs("--floor", flags.floor, faults))
    keeps = [(column_name(name), value) for name, value in _pairs("--keep", flags.keep, faults)]
    named = [*_pairs("--priority", [flags.priority] if flags.priority else [], faults)]
    priority = (column_name(named[0][0]), _listed(named[0][1])) if named else ("", ())
    order = tuple(_listed(flags.give_up_in_order or ""))
    give_up = _tried(
        lambda: GiveUp(order, {name: _typed(name, value) for name, value in floor.items()}), faults
    )
    credits = _tried(lambda: _credits(flags.at_most, price), faults)
    deadline_ms = _tried(lambda: _deadline_ms(flags.deadline), faults)
    if give_up is None or faults:
        raise InputError(faults=faults)
    return Wish(give_up, credits, deadline_ms), keeps, priority


def _tried(read: Callable[[], Read], faults: list[Fault]) -> Read | None:
    """What is read, or None after noting why it cannot be."""
    try:
        return read()
    except InputError as error:
        faults += error.faults
        return None


def _pairs(flag: str, texts: Iterable[str], faults: list[Fault]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name and equals and value:
            yield name, value
        else:
            hint = f"write it as {flag} NAME=VALUE"
            faults.append(Fault("bad_flag", f"`{text}` does not say what is what", flag, hint=hint))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _typed(name: str, value: str) -> Any:
    """The value of a ladder that a text spells; what is none stays text, for the ladder to refuse."""
    return next((rung for rung in LADDERS.get(name, ()) if str(rung) == value.lower()), value)


def _credits(text: str | None, price: CreditPrice) -> int | None:
    """The whole credits that an amount pays for."""
    if text is None:
        return None
    amount = amount_of(int(text) if text.isdecimal() and text.isascii() else text)
    if amount is None:
        hint = "write such as '800 credits' or '60 USD'"
        raise InputError(f"`{text}` is not an amount", code="bad_amount", where="--at-most", hint=hint)
    unit, number = amount
    return number if unit == "credits" else number // price.rate_microusd


def _deadline_ms(text: str | None) -> int | None:
    return None if text is None else seconds_of(text, "--deadline") * 1000


# -- the groups of a file -------------------------------------------------------------------------


def _groups(plan: Plan, keeps: Keeps, priority: Priority) -> list[Group]:
    """The group of each job in file order; equal ones are one object."""
    known: dict[Group, Group] = {}
    if not keeps and not priority[0]:
        plain = [Group(cell) for cell in range(len(CELLS))]
        return [plain[cell] for cell in plan.cells]
    seen = _Seen({name for name, _ in keeps} | ({priority[0]} - {""}))
    ranks = {value: rank for rank, value in enumerate(priority[1])}
    found = []
    for job in plan.workload.jobs():
        seen.add(job.labels)
        kept_by = tuple(f"{name}={value}" for name, value in keeps if job.labels.get(name) == value)
        rank = ranks.get(job.labels.get(priority[0], ""), len(ranks))
        group = Group(price_cell(job.request), rank, kept_by)
        found.append(known.setdefault(group, group))
    if found:
        seen.check([*keeps, *((priority[0], value) for value in priority[1])])
    return found


class _Seen:
    """The labels of a file, and the values of those that flags speak of."""

    def __init__(self, asked: set[str]) -> None:
        self._values: dict[str, set[str]] = {name: set() for name in asked}
        self._names: set[str] = set()

    def add(self, labels: Mapping[str, str]) -> None:
        self._names.update(labels)
        for name, values in self._values.items():
            if name in labels:
                values.add(labels[name])

    def check(self, spoken_of: Iterable[tuple[str, str]]) -> None:
        """Raises `InputError` for each label and value that no job has: a slip would give up what matters."""
        faults = {
            self._fault(name, value): None for name, value in spoken_of if value not in self._values[name]
        }
        if faults:
            raise InputError(faults=faults)

    def _fault(self, name: str, value: str) -> Fault:
        known = sorted(self._values[name] if name in self._names else self._names)
        text = f"{name}={value}" if name in self._names else name
        message = f"no job has `{text}`" if name in self._names else f"no job has the label `{text}`"
        guess = nearest(value if name in self._names else name, known)
        hint = f"did you mean `{guess}`?" if guess else f"there are {', '.join(known[:5]) or 'no labels'}"
        return Fault("no_such_label", message, field=name, hint=hint)
