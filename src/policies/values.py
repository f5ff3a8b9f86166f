"""The values that people type into a policy file, each with what is said when it is wrong.

Here belong names, amounts, labels, limits and rewrites, one function for each, as pydantic calls them.
Which keys there are and how they go together belongs to `document`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationInfo

from planner.columns import column_name
from planner.errors import InvalidRequest, nearest
from planner.money import micro_from_usd
from planner.request import CHOICES, DEFAULTS, FIELDS, OPEN_FIELDS, parse_request
from policies.budgets import Limit, Unit
from policies.conditions import RESERVED, Condition, Vocabulary, label_text
from policies.matching import MOST_CLAUSES, TooManyClauses, clauses
from policies.parsing import Problem, Reader, plain, share_of
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
    try:
        return ZoneInfo(data)
    except (TypeError, ValueError, OSError, KeyError):
        names = {name.lower(): name for name in sorted(available_timezones())}
        guess = nearest(str(data), tuple(names), cutoff=0.6)
        meant = f"did you mean `{names[guess]}`?" if guess else "use a name such as Europe/Berlin"
        raise refuse(f"`{plain(data)}` is not a time zone", meant) from None


def approver_in(data: Any) -> str | None:
    """Who is asked by `{needs_approval: finance}` or by the text `needs_approval: finance`."""
    if isinstance(data, dict) and data.keys() == {"needs_approval"}:
        who = data["needs_approval"]
    elif isinstance(data, str) and data.startswith("needs_approval:"):
        who = data.removeprefix("needs_approval:")
    else:
        return None
    return (who.strip() or None) if isinstance(who, str) else None


def exhausted(data: Any) -> str:
    """The approver, or an empty text for `deny`."""
    if data == "deny":
        return ""
    if isinstance(data, dict) and "downgrade" in data:
        raise refuse("`downgrade` is not supported", "use deny or needs_approval", ("downgrade",))
    if (who := approver_in(data)) is not None:
        return who
    raise refuse(f"`{plain(data)}` is not an answer to a full budget", _EXHAUSTED_HINT)


_EXHAUSTED_HINT: Final = "use `deny` or `{needs_approval: finance}`"


def otherwise(data: Any) -> Literal["allow", "deny"] | Mapping[str, str]:
    if data in ("allow", "deny"):
        return data  # type: ignore[no-any-return]
    if (who := approver_in(data)) is not None:
        return {"needs_approval": who}
    raise refuse(f"`{plain(data)}` is not a verdict", "use allow, deny or `{needs_approval: finance}`")


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
    return data.strip()


def share(data: Any) -> Fraction:
    share = share_of(data)
    if share is None:
        raise refuse(f"`{plain(data)}` is not a share", "use one from 0% to 100%, such as 80%")
    return share


# -- labels, limits, rewrites, conditions ---------------------------------------------------------


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


def rewrite(data: Any) -> dict[str, Any]:
    """New values by field, None for `absent`; each is one that the provider takes."""
    if not isinstance(data, dict) or not data:
        raise refuse("a rewrite must be a mapping", "such as `{resolution: 2k}`")
    problems = [problem for name, value in data.items() if (problem := _unfit(name, value))]
    if problems:
        raise refuse_all(problems)
    return {name: None if value == "absent" else value for name, value in data.items()}


def _unfit(name: str, value: Any) -> Problem | None:
    if name == "prompt":
        return Problem((name,), "`prompt` cannot be rewritten", "rules never touch what a picture shows")
    if name not in FIELDS:
        guess = nearest(name, FIELDS)
        hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join((*CHOICES, *DEFAULTS))
        return Problem((name,), f"`{name}` is not an input of model-create", hint)
    if value == "absent":
        return None
    if name in OPEN_FIELDS:
        return Problem((name,), f"`{name}` can only be left out", f"write `{name}: absent`")
    if value is None:
        return Problem((name,), f"`{name}` has no value", "write `absent` to leave the field out")
    try:
        parse_request({"prompt": "x", name: value})
    except InvalidRequest as error:
        fault = error.faults[0]
        return Problem((name,), fault.message, fault.hint)
    return None


def vocabulary(info: ValidationInfo) -> Vocabulary:
    return info.context if isinstance(info.context, Vocabulary) else Vocabulary()


def condition(data: Any, info: ValidationInfo) -> Condition:
    return _read_condition(data, Reader(vocabulary(info)))


def counting(data: Any, info: ValidationInfo) -> Condition:
    return _read_condition(data, Reader(vocabulary(info), counting=True))


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
