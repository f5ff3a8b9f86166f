"""How a condition is read from plain values, with every fault of it and what would help.

Here belongs the way from the values of a YAML mapping to the tree of `conditions`. The problems are
placed by keys and list positions; the file and line are added where the document is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from planner.errors import nearest
from policies.conditions import (
    COMBINERS,
    COMPARISONS,
    ORDERED,
    USED,
    VERDICT,
    AllOf,
    AnyOf,
    Attribute,
    Between,
    Compare,
    Condition,
    Kind,
    Named,
    Not,
    OneOf,
    Sent,
    Value,
    Vocabulary,
)
from policies.scalars import minute_of, read_value

Place = tuple[str | int, ...]
"""Where something stands below a condition: keys and list positions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in a condition, placed by keys and list positions below it."""

    place: Place
    message: str
    hint: str = ""


Purpose = Literal["rule", "budget", "guarantee", "named"]
"""What a condition is for: it says when a rule fires, what a budget counts, or what never happens."""

_NOT_IN_RULES: Final = {
    "verdict": ("`verdict` can only stand in a guarantee", "every rule is asked before there is a verdict")
}
UNREADABLE: Final[Mapping[Purpose, Mapping[str, tuple[str, str]]]] = {
    "rule": _NOT_IN_RULES,
    "budget": {
        **_NOT_IN_RULES,
        "used": (
            "what a budget counts cannot depend on what is used",
            "use labels, request fields, credits, usd, time or weekday",
        ),
    },
    "guarantee": {},
    "named": {},
}
"""What a condition cannot ask there, with the reason and what would help.

What a budget counts is read again from the ledger, where nobody knows what was used at the time."""

MOST_TESTS: Final = 1_000
MOST_DEPTH: Final = 40
"""How large a condition may become through the names in it."""


class Reader:
    """Reads one condition from plain values and collects its problems; a fault yields no condition."""

    def __init__(self, vocabulary: Vocabulary, purpose: Purpose = "rule") -> None:
        self.vocabulary = vocabulary
        self.unreadable = UNREADABLE[purpose]
        self.problems: list[Problem] = []
        self.reads: set[str] = set()
        self.tests = 0
        self.depth = 0

    def named(self, data: Any) -> Named | None:
        """A condition as others may call it, or None where it has a problem."""
        found = self.condition(data)
        return None if self.problems else Named(found, frozenset(self.reads), self.tests, self.depth)

    def condition(self, data: Any, place: Place = ()) -> Condition:
        """A mapping of attributes to tests, all of which have to hold; or the name of one."""
        if isinstance(data, str):
            return self.called(data, place)
        if not isinstance(data, dict) or not data:
            return self.fault(place, "a condition must be a mapping", "such as `{resolution: 4k}`")
        parts = [self.entry(key, value, (*place, key)) for key, value in data.items()]
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def entry(self, key: str, data: Any, place: Place) -> Condition:
        if key in ("any", "all"):
            return self.several(key, data, place, self.condition)
        if key == "not":
            return Not(self.condition(data, place))
        if key in ("used", "verdict"):
            return self.special(key, data, place)
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

    def called(self, name: str, place: Place) -> Condition:
        """The condition of that name."""
        known = self.vocabulary.named
        if name not in known:
            guess, names = nearest(name, tuple(known)), ", ".join(known)
            hint = f"known: {names}" if known else "say what it means under `conditions`"
            hint = f"did you mean `{guess}`?" if guess else hint
            return self.fault(place, f"`{plain(name)}` is not a named condition", hint)
        found = known[name]
        if found is None:
            return _NEVER
        for key in sorted(found.reads & self.unreadable.keys()):
            message, hint = self.unreadable[key]
            self.fault(place, f"`{name}` asks `{key}`: {message}", hint)
        self.reads |= found.reads
        self.tests += found.tests
        self.depth = max(self.depth, len(place) + found.depth)
        if self.tests > MOST_TESTS or self.depth > MOST_DEPTH:
            hint = "say less in one condition"
            return self.fault(place, f"with `{name}` the condition grows too large", hint)
        return found.condition

    def special(self, key: str, data: Any, place: Place) -> Condition:
        """What not every condition may ask: the verdict, and what is used of a budget."""
        self.reads.add(key)
        if key in self.unreadable:
            return self.fault(place, *self.unreadable[key])
        return self.used(data, place) if key == "used" else self.test(VERDICT, data, place)

    def used(self, data: Any, place: Place) -> Condition:
        """Shares of named budgets that are used before the request."""
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
        self.tests += 1
        self.depth = max(self.depth, len(place))
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
        if data.keys() != {"from", "to"}:
            return self.fault(
                place, "a time of day has `from` and `to`", "such as `{from: 22:00, to: 06:00}`"
            )
        start, end = minute_of(data["from"]), minute_of(data["to"], last=24 * 60)
        if start is None:
            self.fault((*place, "from"), f"`{plain(data['from'])}` is not a time of day", _FROM)
        if end is None:
            self.fault((*place, "to"), f"`{plain(data['to'])}` is not a time of day", _TO)
        if start is None or end is None:
            return _NEVER
        if start == end:
            return self.fault(place, "the time of day is empty", "let `from` and `to` differ")
        return Between(attribute.name, start, end)

    def value(self, attribute: Attribute, data: Any, place: Place) -> Value:
        """A plain value of the attribute's kind, in the unit in which it is compared."""
        read, hint = read_value(attribute, data)
        if read is None:
            self.fault(place, f"{_quoted(attribute, data)} is not a value of `{attribute.name}`", hint)
        return read

    def fault(self, place: Place, message: str, hint: str) -> Condition:
        self.problems.append(Problem(place, message, hint))
        return _NEVER


_FROM: Final = "write it from 00:00 to 23:59, with two digits for minutes"
_TO: Final = "write it from 00:00 to 24:00, with two digits for minutes"
_NEVER: Final = AnyOf(())
"""What a faulty part is read as, so that reading goes on and finds the other faults."""


def _quoted(attribute: Attribute, data: Any) -> str:
    """What was written, except where it may be a picture of somebody."""
    return "that" if attribute.kind is Kind.REFERENCE else f"`{plain(data)}`"


def plain(data: Any) -> str:
    """A short form of what somebody wrote, to be quoted in a fault.

    >>> plain({"above": [1, True]})
    '{above: [1, true]}'
    """
    text = "".join(letter if letter.isprintable() else "?" for letter in _flow(data)[:61])
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
