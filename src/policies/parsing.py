"""How a condition is read from plain values, with every fault of it and what would help.

Here belongs the way from the values of a YAML mapping to the tree of `conditions`. The problems are
placed by keys and list positions; the file and line are added where the document is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from planner.errors import nearest
from planner.money import MICRO
from policies.conditions import (
    COMBINERS,
    COMPARISONS,
    ORDERED,
    USED,
    AllOf,
    AnyOf,
    Attribute,
    Between,
    Compare,
    Condition,
    Kind,
    Not,
    OneOf,
    Sent,
    Value,
    Vocabulary,
    label_text,
)

Place = tuple[str | int, ...]
"""Where something stands below a condition: keys and list positions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in a condition, placed by keys and list positions below it."""

    place: Place
    message: str
    hint: str = ""


class Reader:
    """Reads one condition from plain values and collects its problems; a fault yields no condition."""

    def __init__(self, vocabulary: Vocabulary, counting: bool = False) -> None:
        self.vocabulary = vocabulary
        self.counting = counting
        """Whether the condition says what a budget counts, which is read again from the ledger."""
        self.problems: list[Problem] = []

    def condition(self, data: Any, place: Place = ()) -> Condition:
        """A mapping of attributes to tests, all of which have to hold."""
        if not isinstance(data, dict) or not data:
            return self.fault(place, "a condition must be a mapping", "such as `{resolution: 4k}`")
        parts = [self.entry(key, value, (*place, key)) for key, value in data.items()]
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def entry(self, key: str, data: Any, place: Place) -> Condition:
        if key in ("any", "all"):
            return self.several(key, data, place, self.condition)
        if key == "not":
            return Not(self.condition(data, place))
        if key == "used":
            return self.used(data, place)
        attribute = self.vocabulary.attribute(key)
        if attribute is None:
            return self.unknown(key, place)
        if key == "usd" and not self.vocabulary.priced:
            self.fault(place, "`usd` needs a credit price", "add `credit_price: on-demand` to the policy")
        if key == "seconds" and not self.vocabulary.timed:
            self.fault(
                place, "`seconds` needs a latency profile", "add `latency_profile: NAME` to the policy"
            )
        return self.test(attribute, data, place)

    def unknown(self, key: str, place: Place) -> Condition:
        if key == "prompt":
            hint = "conditions never read prompts; declare a label for what you want to tell apart"
            return self.fault(place, "`prompt` cannot stand in a condition", hint)
        guess = nearest(key, self.vocabulary.names)
        hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(self.vocabulary.names)
        return self.fault(place, f"`{key}` is neither a request field nor a declared label", hint)

    def used(self, data: Any, place: Place) -> Condition:
        """Shares of named budgets that are used before the request."""
        if self.counting:
            hint = "use labels, request fields, credits, usd, time or weekday"
            return self.fault(place, "what a budget counts cannot depend on what is used", hint)
        if not isinstance(data, dict) or not data:
            return self.fault(
                place, "`used` must name a budget", "such as `used: {team-month: {above: 80%}}`"
            )
        parts: list[Condition] = []
        for budget, test in data.items():
            if budget not in self.vocabulary.budgets:
                guess = nearest(budget, self.vocabulary.budgets)
                known = ", ".join(self.vocabulary.budgets) or "none"
                hint = f"did you mean `{guess}`?" if guess else f"budgets: {known}"
                self.fault((*place, budget), f"`{budget}` is not a budget of this policy", hint)
            parts.append(self.test(Attribute(USED + budget, Kind.SHARE), test, (*place, budget)))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def test(self, attribute: Attribute, data: Any, place: Place) -> Condition:
        """What is asked of one attribute."""
        match data:
            case "present" | "absent" if attribute.can_be_absent:
                sent = Sent(attribute.name)
                return sent if data == "present" else Not(sent)
            case dict() if attribute.kind is Kind.TIME and data.keys() & {"from", "to"}:
                return self.between(attribute, data, place)
            case dict() if data:
                parts = [self.operation(attribute, op, value, (*place, op)) for op, value in data.items()]
                return parts[0] if len(parts) == 1 else AllOf(tuple(parts))
            case list() if data:
                values = (self.value(attribute, item, (*place, at)) for at, item in enumerate(data))
                return OneOf(attribute.name, frozenset(values))
            case dict() | list() | None:
                hint = "use " + ", ".join(attribute.operators)
                return self.fault(place, f"nothing is asked of `{attribute.name}`", hint)
            case _:
                return OneOf(attribute.name, frozenset((self.value(attribute, data, place),)))

    def operation(self, attribute: Attribute, operator: str, data: Any, place: Place) -> Condition:
        hint = f"with `{attribute.name}` use " + ", ".join(attribute.operators)
        if operator == "not":
            return Not(self.test(attribute, data, place))
        if operator in ("any", "all"):
            return self.several(operator, data, place, lambda item, at: self.test(attribute, item, at))
        if operator not in COMPARISONS:
            guess = nearest(operator, (*COMPARISONS, *COMBINERS))
            meant = f"did you mean `{guess}`? " if guess else ""
            return self.fault(place, f"`{operator}` is not an operator", meant + hint)
        if attribute.kind not in ORDERED:
            return self.fault(place, f"`{operator}` does not go with `{attribute.name}`", hint)
        bound = self.value(attribute, data, place)
        if attribute.kind is Kind.RANKED:
            return self.ranked(attribute, operator, bound)
        return Compare(attribute.name, operator, bound)  # type: ignore[arg-type]

    def ranked(self, attribute: Attribute, operator: str, bound: Value) -> Condition:
        """`at_least: 2k` as the values it stands for: a closed list is compared by its order."""
        if bound not in attribute.values:
            return _NEVER
        rank = {value: place for place, value in enumerate(attribute.values)}
        compare, limit = COMPARISONS[operator], rank[str(bound)]
        return OneOf(attribute.name, frozenset(value for value in rank if compare(rank[value], limit)))

    def several(
        self, key: str, data: Any, place: Place, read: Callable[[Any, Place], Condition]
    ) -> Condition:
        if not isinstance(data, list) or not data:
            return self.fault(place, f"`{key}` must be a list", f"such as `{key}: [..., ...]`")
        parts = tuple(read(item, (*place, at)) for at, item in enumerate(data))
        return AnyOf(parts) if key == "any" else AllOf(parts)

    def between(self, attribute: Attribute, data: Mapping[str, Any], place: Place) -> Condition:
        start, end = minute_of(data.get("from")), minute_of(data.get("to"), last=24 * 60)
        if data.keys() != {"from", "to"} or start is None or end is None:
            return self.fault(
                place, "a time of day has `from` and `to`", "such as `{from: 22:00, to: 06:00}`"
            )
        if start == end:
            return self.fault(place, "the time of day is empty", "let `from` and `to` differ")
        return Between(attribute.name, start, end)

    def value(self, attribute: Attribute, data: Any, place: Place) -> Value:
        """A plain value of the attribute's kind, in the unit in which it is compared."""
        read, hint = _VALUES[attribute.kind](attribute, data)
        if read is None:
            self.fault(place, f"{_quoted(attribute, data)} is not a value of `{attribute.name}`", hint)
        return read

    def fault(self, place: Place, message: str, hint: str) -> Condition:
        self.problems.append(Problem(place, message, hint))
        return _NEVER


_NEVER: Final = AnyOf(())
"""What a faulty part is read as, so that reading goes on and finds the other faults."""


def _quoted(attribute: Attribute, data: Any) -> str:
    """What was written, except where it may be a picture of somebody."""
    return "that" if attribute.kind is Kind.REFERENCE else f"`{plain(data)}`"


def minute_of(data: Any, last: int = 24 * 60 - 1) -> int | None:
    """The minute of the day that `22:00` names, or None.

    >>> minute_of("06:30"), minute_of("24:00"), minute_of("6.30")
    (390, None, None)
    """
    if not isinstance(data, str) or data.count(":") != 1:
        return None
    hours, minutes = data.split(":")
    if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2 and len(hours) <= 2):
        return None
    minute = int(hours) * 60 + int(minutes)
    return minute if int(minutes) < 60 and minute <= last else None


def share_of(data: Any) -> Fraction | None:
    """The share that `80%` names, or None; more than all of a budget is no share to watch for.

    >>> share_of("80%"), share_of("12.5%"), share_of(80)
    (Fraction(4, 5), Fraction(1, 8), None)
    """
    if not isinstance(data, str) or not data.endswith("%"):
        return None
    digits = data[:-1].strip()
    if not digits.replace(".", "", 1).isdecimal():
        return None
    share = Fraction(Decimal(digits)) / 100
    return share if share <= 1 else None


def plain(data: Any) -> str:
    """A short form of what somebody wrote, to be quoted in a fault.

    >>> plain({"above": [1, True]})
    '{above: [1, true]}'
    """
    text = _flow(data)
    return text if len(text) <= 60 else text[:57] + "…"


def _flow(data: Any) -> str:
    match data:
        case None:
            return "null"
        case bool():
            return str(data).lower()
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in data.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, data)) + "]"
        case _:
            return str(data)


Read = tuple[Value, str]
"""A value, or None and a hint that says what would be right."""


def _choice(attribute: Attribute, data: Any) -> Read:
    text = label_text(data)
    if text in attribute.values:
        return text, ""
    guess = nearest(text, attribute.values) if text else None
    meant = f"did you mean `{guess}`? " if guess else ""
    return None, meant + "use " + ", ".join(attribute.values)


def _text(attribute: Attribute, data: Any) -> Read:
    return label_text(data) or None, "write it as text, in quotes where it looks like something else"


def _flag(attribute: Attribute, data: Any) -> Read:
    return (data if isinstance(data, bool) else None), "use true or false"


def _count(attribute: Attribute, data: Any) -> Read:
    return (data if type(data) is int else None), "use a whole number"


def _usd(attribute: Attribute, data: Any) -> Read:
    exact = Decimal(data) * MICRO if type(data) is int or isinstance(data, Decimal) else Decimal("0.5")
    whole = exact == exact.to_integral_value()
    return (int(exact) if whole else None), "use dollars such as 1.50, with at most six decimals"


def _seconds(attribute: Attribute, data: Any) -> Read:
    number = type(data) is int or isinstance(data, Decimal)
    return (data if number else None), "use a number of seconds"


def _share(attribute: Attribute, data: Any) -> Read:
    return share_of(data), "use a share of the limit from 0% to 100%, such as 80%"


def _reference(attribute: Attribute, data: Any) -> Read:
    return None, "use present or absent; conditions never read pictures"


def _time(attribute: Attribute, data: Any) -> Read:
    return None, "use `{from: 22:00, to: 06:00}`"


_VALUES: Final[Mapping[Kind, Callable[[Attribute, Any], Read]]] = {
    Kind.CHOICE: _choice,
    Kind.RANKED: _choice,
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.COUNT: _count,
    Kind.USD: _usd,
    Kind.SECONDS: _seconds,
    Kind.SHARE: _share,
    Kind.REFERENCE: _reference,
    Kind.TIME: _time,
}
