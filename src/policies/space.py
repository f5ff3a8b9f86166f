"""The finite space that conditions can tell apart: requests that rules move, contexts that stay.

Here belongs its enumeration. A request of the space is every choice of the fields that rewriting can
change or a price depends on; a context is everything else that a condition reads: labels, the clock,
fields nobody writes, and what is used of budgets. Contexts that all conditions take alike are one. What
happens in the space belongs to `passes` and to those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any, Final

from planner.quoting import COUNTS, MODES
from planner.request import CHOICES, FIELDS, RESOLUTIONS, ModelCreateRequest, parse_request
from policies.compiled import CLOCK, Compiled
from policies.conditions import SENT, USED, WEEKDAYS
from policies.matching import Column, Matcher
from policies.rules import Facts

FACE: Final = "https://example.com/face.png"
POSE: Final = "https://example.com/pose.png"
ANY_OTHER: Final = "any other"
"""Stands for a label's value that no condition names and no list has."""
VERDICT: Final = "verdict"

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

Masks = tuple[int, ...]
"""What each matcher lets hold, in their order."""


@dataclass(frozen=True, slots=True)
class Context:
    """Contexts that all conditions take alike, and one of them."""

    masks: Masks
    unlisted: tuple[bool, ...]
    """For each policy whether a label has a value that its list does not have; that is denied."""
    limits: tuple[tuple[int, int], ...]
    """The limit of a budget whose limit depends on a label, by the budget's place."""
    example: Mapping[str, Any]
    """A value for every label, field and clock attribute that somebody reads; None where it is absent."""


class TooLarge(Exception):
    """The space has more cells than were asked for."""


class Space:
    """What the conditions of some matchers can tell apart, for one policy or for several at once."""

    def __init__(
        self, policies: Sequence[Compiled], matchers: Sequence[Matcher], *, limits: bool = False
    ) -> None:
        self.policies = tuple(policies)
        self.policy = policies[0]
        """The one whose budgets are meant."""
        self.matchers = tuple(matchers)
        self.by_limits = limits
        """Whether labels are told apart by all limits they have, or only by those that a share is of."""
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
        return tuple(name for name in FIELDS if name in found)

    @cached_property
    def requests(self) -> tuple[ModelCreateRequest, ...]:
        """Every request as far as rewriting and prices go, the plainest first."""
        choices = [self._values(name) for name in self.moving]
        if _size(choices) > _MOST_REQUESTS:
            raise TooLarge
        return tuple(
            parse_request({"prompt": "x", **{k: v for k, v in pairs if v is not None}})
            for pairs in (zip(self.moving, values, strict=True) for values in product(*choices))
        )

    def place(self, request: ModelCreateRequest) -> tuple[Any, ...]:
        """What a request of the space is known by."""
        return tuple(getattr(request, name) for name in self.moving)

    def _values(self, name: str) -> Sequence[Any]:
        if name != "seed":
            return _ALL_VALUES[name]
        near = {seed + step for seed in self._named("seed") for step in (-1, 0, 1)}
        near |= {seed for seed in self._written.get("seed", ()) if seed is not None} | {42, 43}
        return [None, *sorted(seed for seed in near if 0 <= seed < 2**32)]

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

    def contexts(self, most: int) -> tuple[Context, ...]:
        """Every context; raises `TooLarge` past that many."""
        everything = tuple(matcher.everything for matcher in self.matchers)
        found: dict[Any, Context] = {(): Context(everything, (False,) * len(self.policies), (), {})}
        for group in self._context_groups():
            merged: dict[Any, Context] = {}
            for before, after in product(found.values(), group):
                masks = tuple(a & b for a, b in zip(before.masks, after.masks, strict=True))
                unlisted = tuple(a or b for a, b in zip(before.unlisted, after.unlisted, strict=True))
                limits = before.limits + after.limits
                key = masks, unlisted, limits
                if key not in merged:
                    merged[key] = Context(masks, unlisted, limits, {**before.example, **after.example})
                    if len(merged) > most:
                        raise TooLarge
            found = merged
        return tuple(found.values())

    def concrete(self) -> int:
        """How many contexts there are before those that are taken alike become one."""
        return _size([list(group) for group in self._context_groups(merge=False)])

    def _context_groups(self, merge: bool = True) -> Iterator[Sequence[Context]]:
        """The parts of a context, each with all its values; the plainest first."""
        yield from (_distinct(group) if merge else list(group) for group in self._all_groups())

    def _all_groups(self) -> Iterator[Iterable[Context]]:
        still = [name for name in ("image_reference", "aspect_ratio") if self._is_still(name)]
        if (
            "aspect_ratio" in still
            and "image_reference" not in still
            and "image_reference" not in self.moving
        ):
            still.insert(0, "image_reference")
        if still:
            yield self._of_fields(still)
        for name in ("output_format", "return_base64", "seed"):
            if self._is_still(name):
                yield self._of_fields([name])
        for name in dict.fromkeys(name for policy in self.policies for name in policy.labels):
            yield self._of_label(name)
        if any(name in self._groups for name in CLOCK):
            yield self._of_clock()

    def _is_still(self, name: str) -> bool:
        return name in self._groups and name not in self.moving

    def _of_fields(self, names: Sequence[str]) -> Iterator[Context]:
        for values in product(*(self._values(name) for name in names)):
            fields = {**dict.fromkeys(FIELDS), **dict(zip(names, values, strict=True))}
            facts = Facts(fields, "", 0, None, {}, _MONDAY)
            yield self._context(names, facts, dict(zip(names, values, strict=True)))

    def _of_label(self, name: str) -> Iterator[Context]:
        labels = [policy.labels.get(name) for policy in self.policies]
        listed = dict.fromkeys(value for label in labels if label for value in label.values or ())
        open_ended = any(label is not None and label.values is None for label in labels)
        named = sorted(self._named(name) - listed.keys()) if open_ended else []
        values: list[str | None] = [None, *listed, *named]
        values.append(_unused(values))
        for value in values:
            unlisted = tuple(
                value is not None
                and label is not None
                and label.values is not None
                and value not in label.values
                for label in labels
            )
            facts = Facts({}, "", 0, None, {} if value is None else {name: value}, _MONDAY)
            yield self._context([name], facts, {name: value}, unlisted, self._limits(name, value))

    def _limits(self, label: str, value: str | None) -> tuple[tuple[int, int], ...]:
        return tuple(
            (place, item.budget.limit.of(value))
            for place, item in enumerate(self.policy.budgets)
            if item.budget.limit.by_value is not None
            and item.budget.for_each == (label,)
            and (self.by_limits or place in self.used)
        )

    def limit(self, place: int, context: Context) -> int:
        """The limit of a budget in a context, in its own unit."""
        return dict(context.limits).get(place, self.policy.budgets[place].budget.limit.otherwise)

    def _of_clock(self) -> Iterator[Context]:
        """Every day of the week and every minute at which an answer changes, and the one before it."""
        edges = {minute % 1440 for minute in self._named("time")}
        minutes = sorted({0, *edges, *((minute - 1) % 1440 for minute in edges)}) if edges else [600]
        days = range(7) if "weekday" in self._groups else range(1)
        read = [name for name in CLOCK if name in self._groups]
        zones = dict.fromkeys(policy.zone for policy in self.policies)
        for zone, day, minute in product(zones, days, minutes):
            at = _MONDAY.replace(tzinfo=zone) + timedelta(days=day, minutes=minute)
            local = at.astimezone(self.policy.zone)
            told = {"weekday": WEEKDAYS[local.weekday()], "time": local.hour * 60 + local.minute}
            yield self._context(read, Facts({}, "", 0, None, {}, at), {name: told[name] for name in read})

    def _context(
        self,
        attributes: Sequence[str],
        facts: Facts,
        example: Mapping[str, Any],
        unlisted: tuple[bool, ...] = (),
        limits: tuple[tuple[int, int], ...] = (),
    ) -> Context:
        masks = [matcher.everything for matcher in self.matchers]
        for attribute in attributes:
            for at, column in self._groups.get(attribute, ()):
                masks[at] &= column.mask(column.read(facts))
        return Context(tuple(masks), unlisted or (False,) * len(self.policies), limits, example)

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
        found: list[Span] = []
        for span in _spans(bounds, limit):
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


@dataclass(frozen=True, slots=True)
class Span:
    """Amounts spent of a budget, from the least to the most, between which no condition can tell."""

    least: int
    most: int
    share: Fraction
    """The used share at the least of them."""


def _spans(bounds: Sequence[Fraction], limit: int) -> Iterator[Span]:
    """The amounts at each bound and between two of them; the last are those past all bounds."""
    if limit == 0:
        yield Span(0, 0, Fraction(1))
        return
    start = 0
    for bound in bounds:
        edge = bound * limit
        below = -(-edge.numerator // edge.denominator) - 1  # the last whole amount under the bound
        if start <= below:
            yield Span(start, below, Fraction(start, limit))
        if edge.denominator == 1:
            yield Span(int(edge), int(edge), bound)
        start = int(edge) + 1
    yield Span(start, max(start, limit), Fraction(start, limit))


_MOST_REQUESTS: Final = 20_000
_MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)


def _size(choices: Iterable[Sequence[Any]]) -> int:
    size = 1
    for values in choices:
        size *= len(values)
    return size


def _distinct(group: Iterable[Context]) -> list[Context]:
    """One of those that are taken alike, the first."""
    found: dict[Any, Context] = {}
    for item in group:
        found.setdefault((item.masks, item.unlisted, item.limits), item)
    return list(found.values())


def _unused(values: Sequence[str | None]) -> str:
    """A text that is none of these."""
    text = ANY_OTHER
    while text in values:
        text += "."
    return text
