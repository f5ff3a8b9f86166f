"""Rows of a few kinds, decided one after another, each after the holds of those before it.

Here belong the kinds, of which each is heard once, and the loop over the rows. It evaluates what single
decisions evaluate: the same compiled policy with the same memo. What a budget says that is full, or nearly,
is left to `trial`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from planner.prices import PriceBook
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import AskUsage
from policies.decision import Decision, Ruling, Verdict
from policies.downgrading import Floor
from policies.engine import Policy
from policies.levels import NEVER_SILENT, Entry, Levels
from policies.moments import MOST_REMEMBERED, Labels
from policies.trial import Trial

AT_ONCE: Final = 2**16
"""How many rows are held in one step where no budget has a word to say to any of them."""
REFERENCES: Final = ("image_reference", "face_reference")
_PROMPT: Final = "a row"
_PICTURE: Final = "https://example.com/picture.png"
_SILENT, _WARNS, _FULL, _ALL_USED = range(4)


@dataclass(slots=True, eq=False)
class Kind:
    """Rows with the same values in all columns that matter."""

    request: ModelCreateRequest
    told: Labels
    place: int = 0
    """The place of what the rules say, which holds as long as no budget has a word to say."""
    counted: Sequence[tuple[int, int, bool]] = ((NEVER_SILENT, 0, True),)
    """Where it counts, how much, and whether the budget may make it smaller when it is full."""
    held: Sequence[Entry] = ()
    """What it holds where no budget has a word to say."""
    as_asked: int = 0
    """In shadow, the place of the ruling that lets it go as asked."""
    levels: Sequence[int] = ()
    """All that such labels may count in, where somebody had to know."""
    spoken: dict[Hashable, tuple[int, Sequence[Entry]]] = field(default_factory=dict)
    """By what budgets have to say: the place of the ruling, and what is held."""


class Rows(dict[tuple[Any, ...], Kind]):
    """One pass over rows: their kinds by what stands in their columns, their rulings and the budgets."""

    def __init__(
        self,
        policy: Policy,
        book: PriceBook,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool,
        floor: Floor,
    ) -> None:
        self.policy = policy
        self.moment = policy.moments.at(book, at)
        self.at = at
        self.levels = Levels(usage)
        self.fields = policy.moments.fields
        self.labels = policy.moments.labels.telling
        """A row is known by its values of these fields and these labels, in this order."""
        self.rulings: list[Ruling] = []
        self._wishes = allow_rewrite, floor
        self._places: dict[int, int] = {}

    def column(self, name: str, values: Sequence[Any] | None) -> Sequence[Any] | None:
        """What tells rows apart in a column: its values, but of seeds one for all that are alike."""
        cell = self.policy.moments.seed_cell
        if name != "seed" or cell is None or values is None:
            return values
        alike: dict[Hashable, int | None] = {}
        return [alike.setdefault(cell(seed), seed) for seed in values]

    def places(self, kinds: Sequence[Kind]) -> list[int]:
        """Of each row, the place of its ruling."""
        found = [kind.place for kind in kinds]
        for start in range(0, len(kinds) if self.policy.budgets else 0, AT_ONCE):
            together = kinds[start : start + AT_ONCE]
            if not self.fit(Counter(together)):
                found[start : start + AT_ONCE] = self.one_by_one(together)
        return found

    def fit(self, kinds: Mapping[Kind, int]) -> bool:
        """Hold what so many rows of these kinds hold, if no budget has a word to say to any of them."""
        used, silent = self.levels.used, self.levels.silent
        held, most = Counter[int](), Counter[int]()
        for kind, rows in kinds.items():
            for level, amount, _ in kind.counted:
                if amount >= most[level]:
                    most[level] = amount
            for level, amount in kind.held:
                held[level] += amount * rows
        if any(used[level] + held[level] + amount > silent[level] for level, amount in most.items()):
            return False
        for level, amount in held.items():
            used[level] += amount
        return True

    def one_by_one(self, kinds: Sequence[Kind]) -> list[int]:
        """Of each row the place of its ruling, where budgets may have a word to say."""
        used, silent = self.levels.used, self.levels.silent
        found = []
        for kind in kinds:
            place, held = kind.place, kind.held
            for level, amount, _ in kind.counted:
                if used[level] + amount > silent[level]:
                    place, held = self.spoken(kind)
                    break
            for level, amount in held:
                used[level] += amount
            found.append(place)
        return found

    # -- kinds -----------------------------------------------------------------------------------

    def __missing__(self, key: tuple[Any, ...]) -> Kind:
        fields = dict(zip(self.fields, key, strict=False))
        labels = dict(zip(self.labels, key[len(fields) :], strict=True))
        kind = self[key] = Kind(closed_request(fields), self.policy.moments.labels.of(labels))
        if not self.policy.compiled.reads_usage:
            self.hear(kind)
        if not self.policy.enforced:
            quote = self.moment.quote(kind.request)
            decision = self.policy.as_asked(kind.request, quote, kind.told.declared, self.at)
            kind.as_asked, kind.held = self.place(decision.ruling), self.entries(decision)
        return kind

    def hear(self, kind: Kind) -> None:
        """What the rules say to a kind, and where it counts unless a budget is in doubt."""
        ruling = self.trial(kind).hear(kind.request)
        kind.place = self.place(ruling)
        room = self.moment.room(ruling, kind.told)
        if room.bounds is None:
            return
        may_go = ruling.verdict is not Verdict.DENY
        budgets = [self.policy.budgets[place].budget for place in ruling.counted]
        kind.counted = [
            (
                self.levels.asked(allowance, bound),
                ruling.quote.credits * bound.per_credit,
                may_go and budget.downgrade is not None,
            )
            for allowance, bound, budget in zip(room.allowances, room.bounds, budgets, strict=True)
        ]
        if ruling.verdict is Verdict.ALLOW:
            kind.held = [(level, amount) for level, amount, _ in kind.counted]

    def trial(self, kind: Kind) -> Trial:
        compiled, moments = self.policy.compiled, self.policy.moments
        return Trial(
            compiled, moments, self.moment, kind.told, self.at, self.levels.usage, *self._wishes, {}
        )  # fmt: skip

    def place(self, ruling: Ruling) -> int:
        """The place of a ruling among those that rows have."""
        place = self._places.setdefault(id(ruling), len(self.rulings))
        if place == len(self.rulings):
            self.rulings.append(ruling)
        return place

    # -- budgets that speak ----------------------------------------------------------------------

    def spoken(self, kind: Kind) -> tuple[int, Sequence[Entry]]:
        """The place of the ruling where some budget has a word to say, and what is held then."""
        said = self.said(kind)
        found = kind.spoken.get(said)
        if found is None:
            if len(kind.spoken) >= MOST_REMEMBERED:
                kind.spoken.clear()
            decision = self.trial(kind).decision(kind.request)
            held = kind.held
            if self.policy.enforced:
                held = self.entries(decision) if decision.verdict is Verdict.ALLOW else ()
            found = kind.spoken[said] = self.place(decision.ruling), held
        return found

    def said(self, kind: Kind) -> Hashable:
        """Equal where all budgets say the same: for each whether it is full or warns, or all that is used."""
        used, silent, most = self.levels.used, self.levels.silent, self.levels.most
        words = []
        for level, amount, goes_down in kind.counted:
            after = used[level] + amount
            if after <= silent[level]:
                words.append(_SILENT)
            elif after <= most[level]:
                words.append(_WARNS)
            elif goes_down:
                return _ALL_USED, *map(used.__getitem__, self.levels_of(kind))
            else:
                words.append(_FULL)
        return tuple(words)

    def levels_of(self, kind: Kind) -> Sequence[int]:
        """The levels of every budget that a request with such labels may count in."""
        if not kind.levels:
            compiled, labels = self.policy.compiled, kind.told.declared
            every = (compiled.allowance(place, labels, self.at) for place in range(len(compiled.budgets)))
            kind.levels = [*map(self.levels.number, every)]
        return kind.levels

    def entries(self, decision: Decision) -> Sequence[Entry]:
        """What a decision holds, and where."""
        rate = self.policy.rate_microusd
        return [
            (self.levels.asked(allowance), allowance.amount(decision.credits, rate))
            for allowance in decision.allowances
        ]


def closed_request(fields: Mapping[str, Any]) -> ModelCreateRequest:
    """A request with these closed fields, with something that stands for its prompt and its pictures.

    Of a reference true or false says whether there is one. Raises `InvalidRequest`.
    """
    given = dict(fields)
    for name in REFERENCES:
        if type(given.get(name)) is bool:
            given[name] = _PICTURE if given[name] else None
    return parse_request({"prompt": _PROMPT, **given})
