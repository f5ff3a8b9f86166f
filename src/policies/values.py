"""The values that people type into a policy file, each with what is said when it is wrong.

Here belong names, amounts, labels, limits and conditions, one function for each, as pydantic calls them.
What may follow from a rule belongs to `actions`; which keys there are and how they go together to
`document`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationInfo

from planner.columns import column_name
from planner.errors import nearest
from planner.money import micro_from_usd
from policies.budgets import Limit, Unit
from policies.conditions import RESERVED, Condition, Vocabulary, label_text
from policies.matching import MOST_CLAUSES, TooManyClauses, clauses
from policies.named import named_conditions
from policies.parsing import Problem, Purpose, Reader, plain
from policies.scalars import share_of
from policies.shapes import refuse, refuse_all

# -- single values --------------------------------------------------------------------------------


def name(data: Any) -> str:
    if not isinstance(data, str) or not re.fullmatch(r"\w[\w .-]{0,79}", data.strip()):
        shown = data if isinstance(data, str) else plain(data)
        raise refuse(f"`{shown}` is not a name", "use up to 80 letters, digits, spaces, `-`, `_` and `.`")
    if data.strip() == "otherwise":
        raise refuse("`otherwise` is not a name", "it stands for the case that no rule speaks")
    return data.strip()


def zone(data: Any) -> ZoneInfo:
    if data in _OF_THE_HOST:
        raise refuse(f"`{data}` is another zone on every host", "use a name such as Europe/Berlin")
    try:
        return ZoneInfo(data)
    except (TypeError, ValueError, OSError, KeyError):
        names = {name.lower(): name for name in sorted(available_timezones())}
        guess = nearest(str(data), tuple(names), cutoff=0.6)
        meant = f"did you mean `{names[guess]}`?" if guess else "use a name such as Europe/Berlin"
        raise refuse(f"`{plain(data)}` is not a time zone", meant) from None


_OF_THE_HOST: Final = ("localtime", "posixrules", "Factory")
"""Names of zones that mean whatever a machine is set to: windows have to be the same on all of them."""


def price(data: Any) -> str:
    if isinstance(data, bool) or not isinstance(data, (str, int, Decimal)):
        raise refuse(f"`{plain(data)}` is not a credit price", "use on-demand or dollars such as 0.041")
    return str(data)


def reason(data: Any) -> str:
    """A text, or an empty one for `true`."""
    if data is True:
        return ""
    if not isinstance(data, str) or not data.strip():
        raise refuse(f"`{plain(data)}` is not a reason", "say why in a sentence")
    if not "".join(data.split()).isprintable():
        raise refuse(f"`{plain(data)}` holds characters that cannot be shown", "write it in plain letters")
    return data.strip()


def other_models(data: Any) -> int:
    """The credits that are held for a call without a price."""
    found = amount_of(data.get("hold")) if isinstance(data, dict) and data.keys() == {"hold"} else None
    if found is None or found[0] != "credits" or not 0 < found[1] <= MOST_HELD:
        raise refuse(f"`{plain(data)}` does not say what to hold", "such as `{hold: 8 credits}`")
    return found[1]


MOST_HELD: Final = 1_000_000
"""The largest hold for a call without a price; far above what any one call costs."""


def share(data: Any) -> Fraction:
    share = share_of(data)
    if share is None:
        raise refuse(f"`{plain(data)}` is not a share", "use one from 0% to 100%, such as 80%")
    return share


# -- labels, limits and conditions ----------------------------------------------------------------


def labels(data: Any) -> dict[str, tuple[str, ...] | None]:
    if not isinstance(data, dict):
        raise refuse("`labels` must be a mapping", "such as `{team: [ecommerce, social], campaign: any}`")
    problems: list[Problem] = []
    found = {label: _label(label, values, problems) for label, values in data.items()}
    if problems:
        raise refuse_all(problems)
    return found


def _label(name: str, values: Any, problems: list[Problem]) -> tuple[str, ...] | None:
    if name in RESERVED:
        problems.append(Problem((name,), f"`{name}` cannot be a label", "conditions already read it"))
    elif not re.fullmatch(r"[^\W\d]\w{0,39}", column_name(name)):
        problems.append(Problem((name,), f"`{name}` is not a label name", "use letters, digits and `_`"))
    elif name != column_name(name):
        hint = f"write `{column_name(name)}`: a column finds it in any case, with spaces or hyphens"
        problems.append(Problem((name,), f"`{name}` is not how a label is written", hint))
    if values == "any":
        return None
    if not isinstance(values, list) or not values:
        hint = "write `any`, or the list of its values"
        problems.append(Problem((name,), f"`{plain(values)}` does not say what `{name}` may be", hint))
        return ()
    texts = [label_text(value) for value in values]
    for place, (text, value) in enumerate(zip(texts, values, strict=True)):
        if not text:
            problems.append(Problem((name, place), f"`{plain(value)}` is not text", "put it in quotes"))
        elif text in ("present", "absent", "otherwise"):
            problems.append(Problem((name, place), f"`{text}` cannot be a value", "conditions use the word"))
        elif text in texts[:place]:
            problems.append(Problem((name, place), f"`{text}` stands twice", "keep one of the two"))
    return tuple(texts)


_AMOUNT: Final = re.compile(r"(\d{1,20}(?:\.\d{1,6})?)\s*(credits?|usd)", re.IGNORECASE)


def amount_of(data: Any) -> tuple[Unit, int] | None:
    """The amount that `5000 credits` or `375 USD` names, in whole credits or micro-dollars.

    A bare whole number is one of credits.

    >>> amount_of("5000 credits"), amount_of("37.50 USD"), amount_of(200), amount_of("5 EUR")
    (('credits', 5000), ('microusd', 37500000), ('credits', 200), None)
    """
    if type(data) is int and data >= 0:
        return "credits", data
    found = _AMOUNT.fullmatch(data.strip()) if isinstance(data, str) else None
    if found is None:
        return None
    digits, unit = found[1], found[2].lower()
    if unit == "usd":
        return "microusd", micro_from_usd(Decimal(digits))
    return ("credits", int(digits)) if digits.isdecimal() else None


_MOST: Final = 2**63 - 1
"""The largest amount, in credits or micro-dollars, that a ledger's database can store."""

_LIMIT_HINT: Final = "use `5000 credits`, `375 USD` or `{ecommerce: 5000, otherwise: 200}`"

_MOST_HINT: Final = "for no limit leave the budget out"


def limit(data: Any, info: ValidationInfo) -> Limit:
    parts = data if isinstance(data, dict) else {"otherwise": data}
    problems: list[Problem] = []
    amounts: dict[str, tuple[Unit, int]] = {}
    for value, part in parts.items():
        place = (value,) if parts is data else ()
        if (amount := amount_of(part)) is None:
            problems.append(Problem(place, f"`{plain(part)}` is not a limit", _LIMIT_HINT))
        elif amount[1] > _MOST:
            problems.append(Problem(place, f"`{plain(part)}` is more than a ledger can count", _MOST_HINT))
        else:
            amounts[label_text(value)] = amount
    units = {unit for unit, _ in amounts.values()}
    if "otherwise" not in parts:
        problems.append(Problem((), "`otherwise` is missing", "say what all other values may spend"))
    if len(units) > 1:
        problems.append(Problem((), "the limit mixes credits and USD", "use one unit"))
    if "microusd" in units and not vocabulary(info).priced:
        hint = "add `credit_price: on-demand` to the policy"
        problems.append(Problem((), "a limit in USD needs a credit price", hint))
    if problems:
        raise refuse_all(problems)
    limits = {value: amount for value, (_, amount) in amounts.items()}
    otherwise = limits.pop("otherwise")
    return Limit(units.pop(), otherwise, limits if parts is data else None)


def vocabulary(info: ValidationInfo) -> Vocabulary:
    return info.context if isinstance(info.context, Vocabulary) else Vocabulary()


def named(data: Any, info: ValidationInfo) -> tuple[str, ...]:
    """The names of the conditions; what they mean stands in the vocabulary."""
    if not isinstance(data, dict):
        raise refuse("`conditions` must be a mapping", "such as `{night: {time: {from: 22:00, to: 06:00}}}`")
    _, problems = named_conditions(data, vocabulary(info))
    if problems:
        raise refuse_all(problems)
    return tuple(data)


def condition(purpose: Purpose) -> Callable[[Any, ValidationInfo], Condition]:
    """Reads a condition that is for that."""
    return lambda data, info: _read_condition(data, Reader(vocabulary(info), purpose))


def _read_condition(data: Any, reader: Reader) -> Condition:
    found = reader.condition(data)
    if reader.problems:
        raise refuse_all(reader.problems)
    try:
        clauses(found)
    except TooManyClauses:
        hint = "write it as several rules"
        raise refuse(f"the condition splits into more than {MOST_CLAUSES} cases", hint) from None
    return found


def for_each(data: Any, info: ValidationInfo) -> tuple[str, ...]:
    labels = tuple(vocabulary(info).labels)
    if not isinstance(data, list) or not data:
        raise refuse(f"`{plain(data)}` is not a list of labels", "such as `[team]`")
    problems = []
    for place, name in enumerate(data):
        if name not in labels:
            guess = nearest(str(name), labels)
            hint = f"did you mean `{guess}`?" if guess else "declared: " + (", ".join(labels) or "none")
            problems.append(Problem((place,), f"`{plain(name)}` is not a declared label", hint))
        elif name in data[:place]:
            problems.append(Problem((place,), f"`{name}` stands twice", "keep one of the two"))
    if problems:
        raise refuse_all(problems)
    return tuple(data)
