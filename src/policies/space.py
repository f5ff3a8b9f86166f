"""The finite space that conditions can tell apart: requests that rules move, contexts that stay.

Here belongs its enumeration. A request of the space is every choice of the fields that rewriting can
change or a price depends on; a context is everything else that a condition reads: labels, the clock,
fields nobody writes, and what is used of budgets. Contexts that all conditions take alike are one. What
happens in the space belongs to `passes` and to those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Final

from planner.quoting import COUNTS, MODES
from planner.request import (
    CHOICES,
    DEFAULTS,
    FIELDS,
    GENERATION_MODES,
    RESOLUTIONS,
    ModelCreateRequest,
    parse_request,
)
from policies.budgets import Limit
from policies.compiled import CLOCK, Compiled
from policies.conditions import SENT, USED
from policies.contexts import Context, Masks, TooLarge, together
from policies.matching import Column, Matcher
from policies.rules import Facts
from policies.spans import Span, fine, instants, spans, stretch

FACE: Final = "https://example.com/face.png"
POSE: Final = "https://example.com/pose.png"
ANY_OTHER: Final = "any other"
"""Stands for a value that no condition names, no rule writes and no list has."""
ABSENT_OR_OTHER: Final = "absent or any other"
"""Stands for a field that is not sent and for every value that nobody means."""
VERDICT: Final = "verdict"
MOST_REQUESTS: Final = 200_000
"""More than these would not fit into memory with all that is known of each."""

PRICED: Final = ("resolution", "generation_mode", "face_reference", "num_images")
_FROM_REQUEST: Final = ("credits", "usd", "seconds", VERDICT)
_ALL_VALUES: Final[Mapping[str, Sequence[Any]]] = {
    "resolution": (None, *RESOLUTIONS),
    "generation_mode": MODES,
    "face_reference": (None, FACE),
    "num_images": (None, *COUNTS),
    "image_reference": (None, POSE),
    "aspect_ratio": (None, *CHOICES["aspect_ratio"]),
    "face_reference_mode": (None, *CHOICES["face_reference_mode"]),
    "output_format": (None, *CHOICES["output_format"]),
    "return_base64": (None, True, False),
}


class Space:
    """What the conditions of some matchers can tell apart, for one policy or for several at once."""

    def __init__(
        self,
        policies: Sequence[Compiled],
        matchers: Sequence[Matcher],
        *,
        limits: bool = False,
        granted: bool = False,
        most_requests: int = MOST_REQUESTS,
    ) -> None:
        self.policies = tuple(policies)
        self.policy = policies[0]
        """The one whose budgets are meant."""
        self.matchers = tuple(matchers)
        self.by_limits = limits
        """Whether labels are told apart by all limits they have, or only by those that a share is of."""
        self.granted = granted
        """Whether something may be granted on top of a limit, so that any share of it may be used."""
        self.most_requests = most_requests
        self._written: dict[str, set[Any]] = {}
        for rule in (rule for policy in policies for rule in policy.rewrites):
            for name, value in rule.changes.items():
                self._written.setdefault(name, set()).add(value)
        self._groups = _groups(self.matchers)

    def part(self, at: int, matchers: slice) -> Space:
        """The same requests for one of the policies and its matchers alone."""
        found = copy(self)
        found.policies, found.policy = (self.policies[at],), self.policies[at]
        found.matchers = self.matchers[matchers]
        found.moving, found.requests = self.moving, self.requests
        found._groups = _groups(found.matchers)
        found.__dict__.pop("used", None)
        return found

    # -- requests --------------------------------------------------------------------------------

    @cached_property
    def moving(self) -> tuple[str, ...]:
        """The fields of a request that rewriting changes, or on which what it changes depends."""
        found = {*PRICED, *self._written}
        if "face_reference_mode" in self._groups:
            found.add("face_reference_mode")  # It means nothing without a face.
        if "image_reference" in found and "aspect_ratio" in self._groups:
            found.add("aspect_ratio")  # With a pose reference an omitted one is inherited.
        if "aspect_ratio" in found:
            found.add("image_reference")
        return tuple(name for name in FIELDS if name in found)

    @cached_property
    def requests(self) -> tuple[ModelCreateRequest, ...]:
        """Every request as far as rewriting and prices go, the plainest first."""
        choices = [self._told_apart(name) for name in self.moving]
        if prod(map(len, choices)) > self.most_requests:
            raise TooLarge(f"{self.most_requests:,} requests")
        return tuple(
            parse_request({"prompt": "x", **{k: v for k, v in pairs if v is not None}})
            for pairs in (zip(self.moving, values, strict=True) for values in product(*choices))
        )

    @property
    def stands_for(self) -> int:
        """How many requests there are where fields have all their values."""
        return prod(len(self._values(name)) for name in self.moving)

    def place(self, request: ModelCreateRequest) -> tuple[Any, ...]:
        """What a request of the space is known by."""
        return tuple(getattr(request, name) for name in self.moving)

    def _values(self, name: str) -> Sequence[Any]:
        """All values of a field, the plainest first; of seeds those at which an answer can change."""
        if name != "seed":
            return _ALL_VALUES[name]
        near = {seed + step for seed in self._named("seed") for step in (-1, 0, 1)}
        near |= {seed for seed in self._written.get("seed", ()) if seed is not None} | {42, 43}
        return [None, *sorted(seed for seed in near if 0 <= seed < 2**32)]

    def _told_apart(self, name: str) -> Sequence[Any]:
        """The values of a field without those that nobody can tell from one that is there."""
        values = self._values(name)
        if name in PRICED or name in ("image_reference", "seed"):
            return values
        others = [value for value in values if value is not None and value not in self._meant(name)]
        dropped = others if self._absent_stands_for_others(name) else others[1:]
        return [value for value in values if value is None or value not in dropped]

    def told_as(self, name: str, value: Any) -> Any:
        """A value of a field; in words where it stands for others that are not told apart from it."""
        if name not in self.moving or name in PRICED or name == "image_reference":
            return value
        if value is None:
            return ABSENT_OR_OTHER if self._absent_stands_for_others(name) else None
        itself = value in self._meant(name) or (name, value) == ("seed", DEFAULTS["seed"])
        return value if itself else ANY_OTHER

    def _meant(self, name: str) -> set[Any]:
        """The values of a field that a condition names or a rule writes."""
        return self._named(name) | self._written.get(name, set())

    def _absent_stands_for_others(self, name: str) -> bool:
        """Whether nobody tells a field that is not sent from one with a value that nobody means."""
        meant = self._meant(name)
        return name != "seed" and not ({DEFAULTS[name], None} & meant or self._asks_if_sent(name))

    def _asks_if_sent(self, name: str) -> bool:
        return any(column.name.startswith(SENT) for _, column in self._groups.get(name, ()))

    def _named(self, attribute: str) -> set[Any]:
        """The values that conditions name, of the columns that compare them."""
        columns = (column for _, column in self._groups.get(attribute, ()))
        return {value for column in columns if not column.name.startswith(SENT) for value in column.values()}

    def request_masks(self, matcher: int, facts: Facts) -> int:
        """What a request lets hold of one matcher, apart from its context and from usage."""
        found = self.matchers[matcher].everything
        for attribute in (*self.moving, *_FROM_REQUEST[:-1]):
            for at, column in self._groups.get(attribute, ()):
                if at == matcher:
                    found &= column.mask(column.read(facts))
        return found

    def verdict_mask(self, matcher: int, verdict: str) -> int:
        """What a verdict lets hold of one matcher."""
        found = self.matchers[matcher].everything
        for at, column in self._groups.get(VERDICT, ()):
            if at == matcher:
                found &= column.mask(verdict)
        return found

    # -- contexts --------------------------------------------------------------------------------

    def contexts(
        self, most_cells: int, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Context, ...]:
        """Every context in time [since, until), at any time where nothing is said.

        Raises `TooLarge` where there are more than so many cells.
        """
        everything = tuple(matcher.everything for matcher in self.matchers)
        found = [Context(everything, self._listed, at=since or self._some_monday)]
        try:
            for group in self._groups_in(since, until):
                found = together(found, group, most_cells // len(self.requests))
        except TooLarge:
            raise TooLarge(f"{most_cells:,} cells") from None
        return tuple(found)

    def concrete(self, since: datetime | None = None, until: datetime | None = None) -> int:
        """How many contexts there are before those that are taken alike become one."""
        return prod(len(list(group)) for group in self._groups_in(since, until))

    def _groups_in(self, since: datetime | None, until: datetime | None) -> Iterator[Iterable[Context]]:
        """The parts of a context, each with all its values; the plainest first."""
        yield from self._all_groups()
        if any(name in self._groups for name in CLOCK):
            yield self._of_clock(since or self._some_monday, until)

    @property
    def _some_monday(self) -> datetime:
        return _MONDAY.replace(tzinfo=self.policy.zone)

    @property
    def _listed(self) -> tuple[bool, ...]:
        return (False,) * len(self.policies)

    def _all_groups(self) -> Iterator[Iterable[Context]]:
        if self._is_still("aspect_ratio"):  # With a pose reference an omitted one is inherited.
            yield self._of_fields(["image_reference", "aspect_ratio"])
        elif self._is_still("image_reference"):
            yield self._of_fields(["image_reference"])
        for name in ("output_format", "return_base64", "seed"):
            if self._is_still(name):
                yield self._of_fields([name])
        for name in dict.fromkeys(name for policy in self.policies for name in policy.labels):
            yield self._of_label(name)

    def _is_still(self, name: str) -> bool:
        return name in self._groups and name not in self.moving

    def _of_fields(self, names: Sequence[str]) -> Iterator[Context]:
        for values in product(*(self._values(name) for name in names)):
            fields = dict(zip(names, values, strict=True))
            # Any mode will do, and none would be another model, whose fields have no defaults.
            facts = Facts({**dict.fromkeys(FIELDS), **fields}, _ANY_MODE, 0, None, {}, _MONDAY)
            masks = self._masks(names, facts)
            given = sum(value is not None for value in values)
            yield Context(masks, self._listed, example=fields, said=(given, 0))

    def _of_label(self, name: str) -> Iterator[Context]:
        labels = [policy.labels.get(name) for policy in self.policies]
        listed = dict.fromkeys(value for label in labels if label for value in label.values or ())
        open_ended = any(label is not None and label.values is None for label in labels)
        meant = self._named(name) | self._limited(name)
        values: list[str | None] = [None, *listed, *(sorted(meant - listed.keys()) if open_ended else ())]
        values.append(_unused(values))
        for value in values:
            unlisted = tuple(
                value is not None
                and label is not None
                and label.values is not None
                and value not in label.values
                for label in labels
            )
            given = {} if value is None else {name: value}
            masks = self._masks([name], Facts({}, "", 0, None, given, _MONDAY))
            yield Context(masks, unlisted, self._limits(name, value), {name: value}, (0, len(given)))

    def _limited(self, label: str) -> set[str]:
        """The values of a label that have a limit of their own."""
        return {value for limit in self._limits_by(label) for value in limit.by_value or ()}

    def _limits(self, label: str, value: str | None) -> tuple[int, ...]:
        return tuple(limit.of(value) for limit in self._limits_by(label))

    def _limits_by(self, label: str) -> Iterator[Limit]:
        """The limits that depend on a label, of the budgets of all policies."""
        for budget in (item.budget for policy in self.policies for item in policy.budgets):
            told_apart = self.by_limits or (not self.granted and USED + budget.name in self._groups)
            if told_apart and budget.limit.by_value is not None and budget.for_each == (label,):
                yield budget.limit

    def limit(self, place: int, context: Context) -> int:
        """The limit of a budget in a context, in its own unit."""
        budget = self.policy.budgets[place].budget
        return budget.limit.of(context.example.get(budget.for_each[0]) if budget.for_each else None)

    def _of_clock(self, since: datetime, until: datetime | None) -> Iterator[Context]:
        """Every stretch of time that somebody can tell apart, by its first instant."""
        edges = sorted({minute % 1440 for minute in self._named("time")})
        zones = list(dict.fromkeys(policy.zone for policy in self.policies))
        seen: set[tuple[Any, ...]] = set()
        for at in instants(edges, zones, since, until):
            told = tuple(self._shown(at.astimezone(zone), edges) for zone in zones)
            if told not in seen:
                seen.add(told)
                yield Context(self._masks(CLOCK, Facts({}, "", 0, None, {}, at)), self._listed, at=at)

    def _shown(self, local: datetime, edges: Sequence[int]) -> tuple[int, int]:
        """What somebody can tell of a wall clock."""
        day = local.weekday() if "weekday" in self._groups else 0
        return day, stretch(edges, local.hour * 60 + local.minute)

    def _masks(self, attributes: Sequence[str], facts: Facts) -> Masks:
        """What those attributes of a context let hold of each matcher."""
        masks = [matcher.everything for matcher in self.matchers]
        for attribute in attributes:
            for at, column in self._groups.get(attribute, ()):
                masks[at] &= column.mask(column.read(facts))
        return tuple(masks)

    # -- usage -----------------------------------------------------------------------------------

    @cached_property
    def used(self) -> tuple[int, ...]:
        """The places of the budgets whose used share somebody reads."""
        return tuple(
            place for place, item in enumerate(self.policy.budgets) if USED + item.budget.name in self._groups
        )

    def used_masks(self, place: int, share: Fraction | None) -> Masks:
        """What a used share lets hold; None where a request does not count in the budget."""
        masks = [matcher.everything for matcher in self.matchers]
        for at, column in self._groups.get(USED + self.policy.budgets[place].budget.name, ()):
            masks[at] &= column.mask(share)
        return tuple(masks)

    def spans(self, place: int, limit: int) -> tuple[Span, ...]:
        """What may be spent of a budget before a request, split where an answer changes."""
        bounds = sorted(self._named(USED + self.policy.budgets[place].budget.name))
        limit = fine(bounds) if self.granted else limit
        found: list[Span] = []
        for span in spans(bounds, limit):
            masks = self.used_masks(place, span.share)
            if found and masks == self.used_masks(place, found[-1].share):
                span = Span(found[-1].least, span.most, found[-1].share)
                found.pop()
            found.append(span)
        return tuple(found)


def _groups(matchers: Sequence[Matcher]) -> dict[str, list[tuple[int, Column]]]:
    """The columns of all matchers by the attribute they read, each with its matcher."""
    found: dict[str, list[tuple[int, Column]]] = {}
    for at, matcher in enumerate(matchers):
        for column in matcher.columns:
            found.setdefault(column.name.removeprefix(SENT), []).append((at, column))
    return found


_MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
_ANY_MODE: Final = GENERATION_MODES[0]


def _unused(values: Sequence[str | None]) -> str:
    """A text that is none of these."""
    text = ANY_OTHER
    while text in values:
        text += "."
    return text
