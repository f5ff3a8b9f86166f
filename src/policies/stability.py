"""Whether a policy's rewrites come to rest and never raise a price, settled when it is loaded.

Here belong laws 7 and 8 as an examination of the whole finite space: every request as far as its
price goes, in every context that its conditions can tell apart. Contexts that satisfy the same
clauses are one. Where the space is too large or a rule reads what another one writes outside it,
nothing is claimed, and the engine checks each rewritten request instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from typing import Any, Final
from zoneinfo import ZoneInfo

from planner.errors import Fault
from planner.latency import LatencyProfile
from planner.money import CreditPrice
from planner.prices import PriceEntry
from planner.quoting import COUNTS, MODES, Quote, price_cell, quotes
from planner.request import CHOICES, DEFAULTS, RESOLUTIONS, ModelCreateRequest, parse_request
from policies.conditions import SENT, USED, WEEKDAYS
from policies.decision import Outcome
from policies.matching import Column, Matcher
from policies.rewriting import applied, updates
from policies.rules import Facts, Rule, facts_of, reader

MOST_CONTEXTS: Final = 1_000

_PRICED: Final = ("resolution", "generation_mode", "face_reference", "num_images")
_FROM_PRICED: Final = (*_PRICED, "credits", "usd", "seconds")
_FREE: Final[Mapping[str, Sequence[Any]]] = {
    "image_reference": (None, True),
    "output_format": (None, *CHOICES["output_format"]),
    "return_base64": (None, True, False),
    "weekday": WEEKDAYS,
}
"""All values of attributes that rewrites do not touch, None where one is omitted."""


Labels = Mapping[str, tuple[str, ...] | None]
"""The declared labels; None where any value may stand."""


@dataclass(frozen=True, slots=True)
class Stability:
    """What the examination found."""

    settled: tuple[PriceEntry, ...]
    """The entries for which no rewrite raises a price unasked and every result stays as it is."""
    faults: tuple[Fault, ...]


def examine(
    rules: Iterable[Rule],
    labels: Labels,
    zone: ZoneInfo,
    latency: LatencyProfile | None,
    price: CreditPrice | None,
    entries: Sequence[PriceEntry],
) -> Stability:
    """Every rewrite rule over the whole space, under each price entry."""
    rewrites = [rule for rule in rules if rule.finding.outcome is Outcome.REWRITE]
    if not rewrites:
        return Stability(tuple(entries), ())
    matcher = Matcher([rule.when for rule in rewrites], lambda column: reader(column, zone, latency))
    contexts = _contexts(matcher, labels) if _separable(rewrites, matcher) else None
    if contexts is None:
        return Stability((), ())
    settled, faults = [], {}
    for entry in entries:
        found = _Examination(rewrites, matcher, entry, price).faults(contexts)
        faults.update(found)
        if not found:
            settled.append(entry)
    return Stability(tuple(settled), tuple(faults.values()))


def _attribute(column: str) -> str:
    return column.removeprefix(SENT)


def _separable(rewrites: Sequence[Rule], matcher: Matcher) -> bool:
    """Whether contexts stay as they are under the rules: what they write is priced, or not read."""
    read = {_attribute(column.name) for column in matcher.columns}
    if {"face_reference_mode", "aspect_ratio"} & read:
        return False  # What they mean depends on another field.
    written: dict[str, set[Any]] = {}
    for rule in rewrites:
        for name, value in rule.changes.items():
            if name not in _PRICED:
                written.setdefault(name, set()).add(value)
    return all(name not in read and len(values) == 1 for name, values in written.items())


def _contexts(matcher: Matcher, labels: Labels) -> Mapping[int, Mapping[str, Any]] | None:
    """Masks of the clauses that some context satisfies, each with one such context; None for too many."""
    groups: dict[str, list[Column]] = {}
    for column in matcher.columns:
        if _attribute(column.name) not in _FROM_PRICED:
            groups.setdefault(_attribute(column.name), []).append(column)
    found: dict[int, Mapping[str, Any]] = {matcher.everything: {}}
    for attribute, columns in groups.items():
        values = _values(attribute, columns, labels)
        if values is None:
            return None
        masks = {_mask(columns, attribute, value): value for value in reversed(values)}
        found = {
            before & mask: {**context, attribute: value}
            for before, context in found.items()
            for mask, value in masks.items()
        }
        if len(found) > MOST_CONTEXTS:
            return None
    return found


def _mask(columns: Sequence[Column], attribute: str, value: Any) -> int:
    """What all columns of one attribute say to a value, None where it is omitted."""
    mask = -1
    acted_on = DEFAULTS.get(attribute, value) if value is None else value
    for column in columns:
        mask &= column.mask(value is not None if column.name.startswith(SENT) else acted_on)
    return mask


def _values(attribute: str, columns: Sequence[Column], labels: Labels) -> Sequence[Any] | None:
    """Values of an attribute from every cell; None where they depend on more than the attribute."""
    named = {v for column in columns if not column.name.startswith(SENT) for v in column.values()}
    if attribute in _FREE:
        return _FREE[attribute]
    if attribute == "time":
        return sorted({0, *(minute % 1440 for minute in named), *((minute - 1) % 1440 for minute in named)})
    if attribute == "seed":
        near = {seed + step for seed in named for step in (-1, 0, 1)}
        return [None, *sorted(seed for seed in near if 0 <= seed < 2**32)]
    if attribute.startswith(USED):
        return None
    listed = labels[attribute]
    return [None, _ELSE, *sorted(named)] if listed is None else [None, *listed]


class _Examination:
    """The rewrite rules as tables over the priced space, under one price entry."""

    def __init__(
        self, rewrites: Sequence[Rule], matcher: Matcher, entry: PriceEntry, price: CreditPrice | None
    ) -> None:
        self.rewrites = rewrites
        self.matcher = matcher
        self.prices: Sequence[Quote] = quotes(entry)
        self.requests = _requests()
        self.facts = [self._facts(request, price) for request in self.requests]
        self.places = {_priced(request): place for place, request in enumerate(self.requests)}
        self.masks = [self._mask(facts) for facts in self.facts]
        self.steps: dict[tuple[int, int], int] = {}
        """Where a rule leads from a place, both by their numbers."""

    def _facts(self, request: ModelCreateRequest, price: CreditPrice | None) -> Facts:
        rate = price.rate_microusd if price else None
        return facts_of(request, self.prices[price_cell(request)], {}, _ANY_TIME, rate)

    def _mask(self, facts: Facts) -> int:
        mask = self.matcher.everything
        for column in self.matcher.columns:
            if _attribute(column.name) in _FROM_PRICED:
                mask &= column.mask(column.read(facts))
        return mask

    def faults(self, contexts: Mapping[int, Mapping[str, Any]]) -> dict[tuple[str, ...], Fault]:
        """One fault for each rule that raises a price and each pair that does not come to rest."""
        found: dict[tuple[str, ...], Fault] = {}
        for context, example in contexts.items():
            for start in range(len(self.requests)):
                self._try(context, example, start, found)
        return found

    def _try(
        self, context: int, example: Mapping[str, Any], start: int, found: dict[tuple[str, ...], Fault]
    ) -> None:
        place, turn, last = start, 0, -1
        while (rule := self._next(place, context, turn)) is not None:
            after = self._step(rule, place)
            if self._raises(rule, place, after):
                found.setdefault((self.rewrites[rule].name,), self._raise(rule, place, after, example))
                return
            place, turn, last = after, rule + 1, rule
        again = self._next(place, context, 0) if last >= 0 else None
        if again is not None:
            names = (self.rewrites[again].name, self.rewrites[last].name)
            found.setdefault(names, self._restless(again, last, start, example))

    def _next(self, place: int, context: int, turn: int) -> int | None:
        """The first rule from a turn on that fires and changes something."""
        for rule in self.matcher.owners(self.masks[place] & context):
            if rule >= turn and self._step(rule, place) != place:
                return rule
        return None

    def _step(self, rule: int, place: int) -> int:
        found = self.steps.get((rule, place))
        if found is None:
            changed = updates(self.rewrites[rule], self.facts[place])
            request = self.requests[place]
            result = applied(self.rewrites[rule], changed, request, self.prices).request
            self.steps[rule, place] = found = self.places[_priced(result)]
        return found

    def _raises(self, rule: int, before: int, after: int) -> bool:
        dearer = self.facts[after].credits > self.facts[before].credits
        return dearer and not self.rewrites[rule].may_cost_more

    def _raise(self, rule: int, before: int, after: int, example: Mapping[str, Any]) -> Fault:
        finding = self.rewrites[rule].finding
        paid, more = self.facts[before].credits, self.facts[after].credits
        return Fault(
            "policy",
            f"`{finding.rule}` would raise the price from {paid} to {more} credits"
            f" for {_shown(self.requests[before], example)}",
            finding.where,
            hint="narrow its condition, or say `may_cost_more: true`",
        )

    def _restless(self, again: int, last: int, start: int, example: Mapping[str, Any]) -> Fault:
        first, second = self.rewrites[again].finding, self.rewrites[last].finding
        request = _shown(self.requests[start], example)
        if again == last:
            message = f"`{first.rule}` changes its own result again, for {request}"
        else:
            message = f"`{first.rule}` changes again what `{second.rule}` leaves, for {request}"
        return Fault("policy", message, first.where, hint="narrow one of the conditions, or swap the rules")


_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ELSE: Final = "any other"
"""Stands for a value that no condition names, of a label that takes any."""


@lru_cache(maxsize=1)
def _requests() -> tuple[ModelCreateRequest, ...]:
    """Every request as far as prices and presence go."""
    space = product((None, *RESOLUTIONS), MODES, (None, "https://example.com/face.png"), (None, *COUNTS))
    return tuple(
        parse_request({"prompt": "x", **{k: v for k, v in zip(_PRICED, place, strict=True) if v is not None}})
        for place in space
    )


def _priced(request: ModelCreateRequest) -> tuple[Any, ...]:
    return tuple(getattr(request, name) for name in _PRICED)


def _shown(request: ModelCreateRequest, example: Mapping[str, Any]) -> str:
    """A request and its context as a person would write them down."""
    inputs = {name: value for name, value in request.inputs().items() if name != "prompt"}
    shown = {**inputs, **{name: value for name, value in example.items() if value is not None}}
    if request.face_reference is not None:
        shown["face_reference"] = "present"
    return (
        "`" + ", ".join(f"{name}: {value}" for name, value in shown.items()) + "`"
        if shown
        else "a plain request"
    )
