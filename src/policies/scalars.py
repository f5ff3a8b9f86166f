"""What one value of a condition may be, by the kind of the attribute it is compared with.

Here belongs the way from a plain value to the unit in which it is compared, with what would be right
where there is none. How values stand in a condition belongs to `parsing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from planner.errors import nearest
from planner.money import MICRO
from policies.conditions import Attribute, Kind, Value, label_text

Read = tuple[Value, str]
"""A value, or None and a hint that says what would be right."""


def read_value(attribute: Attribute, data: Any) -> Read:
    """A plain value of the attribute's kind, in the unit in which it is compared.

    >>> read_value(Attribute("usd", Kind.USD), Decimal("1.50"))[0]
    1500000
    """
    return _VALUES[attribute.kind](attribute, data)


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
