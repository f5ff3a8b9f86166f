"""What a policy may remember: spans of instants, kinds of labels and kinds of requests it takes alike.

Here belongs everything that makes a decision cheap: no rule is walked for a request of a kind that was
seen before. What the rules say about a new kind belongs to `ruling`; usage is never remembered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from planner.errors import InputError
from planner.prices import PriceBook, PriceEntry
from planner.quoting import Quote, price_cell, quotes
from planner.request import DEFAULTS, ModelCreateRequest, is_text
from planner.rungs import LADDERS
from policies.compiled import Compiled
from policies.conditions import FIELD_ATTRIBUTES, SENT, label_text
from policies.decision import Ruling
from policies.downgrading import Floor
from policies.room import Bound, Room

MOST_REMEMBERED: Final = 4096
"""How many of a kind are remembered; labels come from outside, so there has to be an end."""
MOST_KNOWN: Final = 2**14
_MOST_MEMOS: Final = 256
_MOST_PASSING: Final = 16
"""Windows and times of day pass, so few of them are remembered with what belongs to them."""
_ALWAYS: Final = (*LADDERS, "face_reference")
"""The fields that a price depends on, which tell requests apart under every policy."""
_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """The rules have to know first how much of a budget is used, and then go on by the answer."""

    place: int
    """The budget's place in the file."""
    answers: dict[Hashable, Heard]
    """What follows, by the cell of the used share."""


Told = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""What takes the values of some names out of a mapping."""
Heard = Ruling | Asked
Memo = dict[Hashable, Heard]


class Labels(NamedTuple):
    """The labels of a request: as the policy reads them, and their kind."""

    kind: int
    """Equal for labels between which no rule can tell."""
    given: tuple[Any, ...]
    declared: Mapping[str, str]
    """The declared labels only, trimmed and NFC-normalised; an empty one is missing."""


Known = tuple[Ruling, Mapping[str, str], Room | None]
"""What was said to a request before, its declared labels, and its room where it counts in a budget."""


class LabelKinds(dict[tuple[Any, ...], Labels]):
    """Labels by the values given for the declared names, worked out when they first come."""

    def __init__(self, policy: Compiled) -> None:
        self.names = tuple(policy.labels)
        self.all = taken(self.names)
        self._policy = policy
        scopes = {name for item in policy.budgets for name in item.budget.for_each}
        self.telling = tuple(
            name for name, label in policy.labels.items() if label.values or name in policy.read | scopes
        )
        """The names of those that make a difference to a rule, a budget or their own list."""
        self._columns = [column for column in policy.columns() if _attribute(column.name) in policy.labels]
        self._kinds: dict[Hashable, int] = {}
        self._numbers = count()

    def given(self, labels: Mapping[str, str] | None) -> tuple[Any, ...]:
        """What stands in the declared names; None where one is missing."""
        if type(labels) is dict:
            try:
                return self.all(labels)
            except KeyError:
                pass
        return tuple(map((labels or {}).get, self.names))

    def of(self, labels: Mapping[str, str] | None) -> Labels:
        """Raises `InputError` for a declared label that is no text."""
        given = self.given(labels)
        try:
            return self[given]
        except TypeError:  # A list has no hash.
            return self.__missing__(given)

    def __missing__(self, given: tuple[Any, ...]) -> Labels:
        declared = {
            name: text
            for name, value in zip(self.names, given, strict=True)
            if value is not None and (text := label_of(name, value))
        }
        if len(self) >= MOST_REMEMBERED:
            self.clear()
            self._kinds.clear()
        number = next(self._numbers)
        found = self[given] = Labels(self._kinds.setdefault(self._kind(declared), number), given, declared)
        return found

    def _kind(self, declared: Mapping[str, str]) -> Hashable:
        """What the columns make of the labels; a value that is not listed is told by name, so it stays."""
        masks = [
            column.mask(
                _attribute(column.name) in declared if column.name.startswith(SENT)
                else declared.get(column.name)
            )
            for column in self._columns
        ]  # fmt: skip
        unlisted = [
            (name, text)
            for name, text in declared.items()
            if (values := self._policy.labels[name].values) is not None and text not in values
        ]
        return (*masks, *unlisted)


def taken(names: Sequence[str]) -> Told:
    """What takes the values of all these names out of a mapping; it raises `KeyError` where one is missing.

    >>> taken(["b", "a"])({"a": 1, "b": 2}), taken(["a"])({"a": 1}), taken([])({})
    ((2, 1), (1,), ())
    """
    match tuple(names):
        case ():
            return lambda given: ()
        case (name,):
            return lambda given: (given[name],)
        case several:
            return itemgetter(*several)


def _attribute(column: str) -> str:
    return column.removeprefix(SENT)


def label_of(name: str, value: object) -> str:
    """A label's value as the policy reads it; raises `InputError` where it is no text."""
    if not isinstance(value, str) or not is_text(value):
        raise InputError(f"the label `{name}` is not text", code="invalid_label", field=name)
    return label_text(value)


class Moment:
    """A span of instants in which price, clock and windows stay as they are."""

    __slots__ = (
        "_clock",
        "_memos",
        "_policy",
        "_rooms",
        "at",
        "book",
        "end",
        "entry",
        "known",
        "rulings",
        "start",
    )

    def __init__(
        self,
        policy: Compiled,
        book: PriceBook,
        entry: PriceEntry,
        at: datetime,
        start: datetime,
        end: datetime,
        clock: Hashable,
        memos: dict[Hashable, Memo],
        rooms: dict[Hashable, Room],
        known: dict[Hashable, Known],
    ) -> None:
        self._policy = policy
        self._memos = memos
        self._clock = clock
        self._rooms = rooms
        """The rooms of all moments in the same windows."""
        self.book = book
        self.entry = entry
        self.at = at
        self.start = start
        self.end = end
        """The first instant after it."""
        self.rulings = self.memo(None)
        """Rulings by the kind of request, where the caller asks for nothing special."""
        self.known = known
        """What was said to requests by what stands in them, found in one look-up."""

    def memo(self, special: Hashable) -> Memo:
        """The rulings for callers who ask for something special, such as no rewriting."""
        return _part(self._memos, (self.entry, self._clock, special), _MOST_MEMOS)

    def quote(self, request: ModelCreateRequest) -> Quote:
        return quotes(self.entry)[price_cell(request)]

    def room(self, ruling: Ruling, labels: Labels) -> Room:
        """The allowances of the budgets that a ruling's result counts in."""
        place = ruling.counted, ruling.doubtful, labels.given
        found = self._rooms.get(place)
        if found is None:
            if len(self._rooms) >= MOST_REMEMBERED:
                self._rooms.clear()
            found = self._rooms[place] = self._room(ruling, labels.declared)
        return found

    def note(self, place: Hashable, ruling: Ruling, labels: Labels) -> Known:
        """Know from now on what was said to a request with that place."""
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        room = self.room(ruling, labels) if ruling.counted else None
        found = self.known[place] = ruling, labels.declared, room
        return found

    def _room(self, ruling: Ruling, labels: Mapping[str, str]) -> Room:
        policy = self._policy
        budgets = [policy.budgets[place].budget for place in ruling.counted]
        found = [policy.allowance(place, labels, self.at) for place in ruling.counted]
        if ruling.doubtful:
            return Room(found, None)
        try:
            return Room(found, [*map(Bound.of, budgets, found, repeat(policy.rate_microusd))])
        except ValueError:
            return Room(found, None)


class Moments:
    """The moments of one policy, and the kinds of labels and requests between which its rules cannot tell."""

    def __init__(self, policy: Compiled) -> None:
        self.labels = LabelKinds(policy)
        self._policy = policy
        self._memos: dict[Hashable, Memo] = {}
        self._rooms: dict[Hashable, dict[Hashable, Room]] = {}
        self._known: dict[Hashable, dict[Hashable, Known]] = {}
        written = {name for rule in policy.rewrites for name in rule.changes}
        more = {*policy.read, *written} & FIELD_ATTRIBUTES.keys() - {*_ALWAYS}
        self.seed_cell = None if "seed" in written or "seed" not in more else _seed_cell(policy)
        """Tells seeds apart as far as conditions do; None where nobody reads them, or a rule sets them."""
        self.rest = _rest(more, self.seed_cell) if more else None
        """Takes what else tells requests apart, beside a pose reference; None where nothing else does."""
        self.fields = (*_ALWAYS, *sorted({*more, "image_reference"} if more else more))
        """The fields that tell requests apart; of a reference, only whether there is one."""

    def kind(self, request: ModelCreateRequest, labels: Labels) -> Hashable:
        """Equal for requests between which no rule can tell."""
        rest = self.rest
        return (
            labels.kind,
            request.resolution,
            request.generation_mode,
            request.num_images,
            request.face_reference is None,
            rest and (rest(request.__dict__), request.image_reference is None),
        )

    def at(self, book: PriceBook, at: datetime) -> Moment:
        """The moment around an instant; raises `NoPrice` outside the book."""
        if at.tzinfo is None:
            raise ValueError("an instant needs its offset from UTC")
        policy, entry = self._policy, book.entry_at(at)
        windows = tuple(policy.calendar.window(item.budget.per, at) for item in policy.budgets)
        clock = policy.clock(at)
        rooms = _part(self._rooms, windows, _MOST_PASSING)
        known = _part(self._known, (entry, clock, windows), _MOST_PASSING)
        spans = [(entry.start, entry.end), *windows]
        spans += [_stretch(at.astimezone(policy.zone), policy.edges)] if policy.reads_clock else []
        start = max(start for start, _ in spans)
        end = min(end or _FOR_EVER for _, end in spans)
        return Moment(policy, book, entry, at, start, end, clock, self._memos, rooms, known)


def _seed_cell(policy: Compiled) -> Callable[[int | None], Hashable]:
    columns = [column for column in policy.columns() if _attribute(column.name) == "seed"]

    def cell(seed: int | None) -> Hashable:
        value = DEFAULTS["seed"] if seed is None else seed
        return tuple(
            column.mask(seed is not None if column.name.startswith(SENT) else value) for column in columns
        )

    return cell


def _rest(names: AbstractSet[str], seed_cell: Callable[[int | None], Hashable] | None) -> Told:
    """What takes those fields, but of the seed its cell, and no reference."""
    if seed_cell is None:
        return taken(sorted(names - {"image_reference"}))
    others = taken(sorted(names - {"image_reference", "seed"}))
    return lambda fields: (*others(fields), seed_cell(fields["seed"]))


Place = TypeVar("Place", bound=Hashable)
Part = TypeVar("Part")


def _part(parts: dict[Place, dict[Hashable, Part]], place: Place, most: int) -> dict[Hashable, Part]:
    """One of the parts of a memo, of which so many are remembered."""
    if len(parts) >= most and place not in parts:
        parts.clear()
    return parts.setdefault(place, {})


def _stretch(local: datetime, edges: Sequence[int]) -> tuple[datetime, datetime]:
    """In UTC, the time around an instant in which the clock passes no edge and no midnight.

    A minute where the clock is set forth or back before the next edge.
    """
    at, since = local.astimezone(UTC), (local.hour * 60 + local.minute)
    past = timedelta(seconds=local.second, microseconds=local.microsecond)
    place = bisect_right(edges, since)
    start = at - past - timedelta(minutes=since - edges[place - 1])
    end = at - past + timedelta(minutes=edges[place] - since)
    offsets = {instant.astimezone(local.tzinfo).utcoffset() for instant in (start, at, end - _TICK)}
    return (start, end) if len(offsets) == 1 else (at - past, at - past + timedelta(minutes=1))


def special(allow_rewrite: bool, floor: Floor) -> Hashable:
    """What sets a caller's wishes apart; None where there are none."""
    return None if allow_rewrite and not floor else (allow_rewrite, *sorted(floor.items()))
