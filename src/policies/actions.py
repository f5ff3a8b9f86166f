"""What may follow, as people type it: approvals, rewrites and downgrades.

Here belongs one function for each, as pydantic calls them. Names, amounts and conditions belong to
`values`; what a rule or a full budget does belongs to `engine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import ValidationInfo

from planner.errors import InvalidRequest, nearest
from planner.request import CHOICES, DEFAULTS, FIELDS, OPEN_FIELDS, parse_request
from planner.rungs import LADDERS
from policies.downgrading import Downgrade, Unit
from policies.parsing import Place, Problem, plain
from policies.shapes import refuse, refuse_all
from policies.values import amount_of, vocabulary

# -- verdicts -------------------------------------------------------------------------------------


def approver_in(data: Any) -> str | None:
    """Who is asked by `{needs_approval: finance}` or by the text `needs_approval: finance`."""
    if isinstance(data, dict) and data.keys() == {"needs_approval"}:
        who = data["needs_approval"]
    elif isinstance(data, str) and data.startswith("needs_approval:"):
        who = data.removeprefix("needs_approval:")
    else:
        return None
    name = " ".join(who.split()) if isinstance(who, str) else ""
    return name if name and name.isprintable() else None


def otherwise(data: Any) -> Literal["allow", "deny"] | Mapping[str, str]:
    if data in ("allow", "deny"):
        return data  # type: ignore[no-any-return]
    if (who := approver_in(data)) is not None:
        return {"needs_approval": who}
    raise refuse(f"`{plain(data)}` is not a verdict", "use allow, deny or `{needs_approval: finance}`")


def exhausted(data: Any, info: ValidationInfo) -> str | Downgrade:
    """The approver, an empty text for `deny`, or how a request goes down."""
    if data == "deny":
        return ""
    if isinstance(data, dict) and data.keys() == {"downgrade"}:
        return _downgrade(data["downgrade"], info, ("downgrade",), budget=True)
    if (who := approver_in(data)) is not None:
        return who
    raise refuse(f"`{plain(data)}` is not an answer to a full budget", _EXHAUSTED_HINT)


_EXHAUSTED_HINT: Final = (
    "use `deny`, `{needs_approval: finance}` or `{downgrade: {give_up_in_order: [num_images]}}`"
)

# -- rewrites -------------------------------------------------------------------------------------


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


# -- downgrades -----------------------------------------------------------------------------------


def downgrade(data: Any, info: ValidationInfo) -> Downgrade:
    """How a rule makes requests smaller."""
    return _downgrade(data, info, ())


def _downgrade(data: Any, info: ValidationInfo, place: Place, budget: bool = False) -> Downgrade:
    known = ("give_up_in_order", "floor") if budget else ("at_most", "give_up_in_order", "floor")
    if not isinstance(data, dict):
        example = "{give_up_in_order: [num_images]}" if budget else _EXAMPLE
        raise refuse("a downgrade must be a mapping", f"such as `{example}`", place)
    problems = [_stray(key, known) for key in data if key not in known]
    amount = None if budget else _at_most(data, info, problems)
    order = _order(data, problems)
    floor = _floor(data.get("floor", {}), order, problems)
    if problems:
        raise refuse_all([Problem((*place, *item.place), item.message, item.hint) for item in problems])
    unit, at_most = amount or ("credits", None)
    return Downgrade(tuple(order), floor, at_most, unit)


_EXAMPLE: Final = "{at_most: 4 credits, give_up_in_order: [num_images, generation_mode]}"
_FIELDS_HINT: Final = "use " + ", ".join(LADDERS)


def _stray(key: str, known: Sequence[str]) -> Problem:
    if key == "at_most":
        hint = "remove it; a full budget goes down to what is left of it"
        return Problem((key,), "`at_most` does not go with a budget", hint)
    guess = nearest(key, known)
    hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(known)
    return Problem((key,), f"`{key}` is not known here", hint)


def _at_most(
    data: Mapping[str, Any], info: ValidationInfo, problems: list[Problem]
) -> tuple[Unit, int] | None:
    if "at_most" not in data:
        hint = "say what a request may cost, such as `4 credits`"
        problems.append(Problem((), "`at_most` is missing", hint))
        return None
    found = amount_of(data["at_most"])
    if found is None:
        message = f"`{plain(data['at_most'])}` is not an amount"
        problems.append(Problem(("at_most",), message, "use `4 credits` or `0.30 USD`"))
    elif found[0] == "microusd" and not vocabulary(info).priced:
        hint = "add `credit_price: on-demand` to the policy"
        problems.append(Problem(("at_most",), "an amount in USD needs a credit price", hint))
    return found


def _order(data: Mapping[str, Any], problems: list[Problem]) -> list[str]:
    """The fields that are given up, the first one first."""
    if "give_up_in_order" not in data:
        hint = "say which fields may be given up, the first one first: " + ", ".join(LADDERS)
        problems.append(Problem((), "`give_up_in_order` is missing", hint))
        return list(LADDERS)
    order, place = data["give_up_in_order"], "give_up_in_order"
    if not isinstance(order, list) or not order:
        problems.append(Problem((place,), f"`{plain(order)}` is not a list of fields", _FIELDS_HINT))
        return list(LADDERS)
    for at, name in enumerate(order):
        if name not in tuple(LADDERS):
            guess = nearest(str(name), tuple(LADDERS))
            hint = f"did you mean `{guess}`?" if guess else _FIELDS_HINT
            problems.append(Problem((place, at), f"`{plain(name)}` cannot be given up", hint))
        elif name in order[:at]:
            problems.append(Problem((place, at), f"`{name}` stands twice", "keep one of the two"))
    return order


def _floor(data: Any, order: Sequence[str], problems: list[Problem]) -> Mapping[str, Any]:
    """The least value of each field that is given up."""
    if not isinstance(data, dict):
        problems.append(Problem(("floor",), "a floor must be a mapping", "such as `{generation_mode: fast}`"))
        return {}
    found = [_unfit_floor(name, value, order) for name, value in data.items()]
    problems += [Problem(("floor", *item.place), item.message, item.hint) for item in found if item]
    return data


def _unfit_floor(name: str, value: Any, order: Sequence[str]) -> Problem | None:
    if name not in LADDERS:
        guess = nearest(name, tuple(LADDERS))
        hint = f"did you mean `{guess}`?" if guess else _FIELDS_HINT
        return Problem((name,), f"`{name}` has no floor", hint)
    if name not in order:
        hint = "add it to `give_up_in_order`, or remove its floor"
        return Problem((name,), f"`{name}` is not given up", hint)
    if value == "absent":
        return Problem((name,), "`absent` is not a floor", "write the least value that will do")
    return _unfit(name, value)
