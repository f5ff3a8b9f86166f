"""What an answer of the provider means: pure readings of status, headers and body.

Here belongs the table of the provider's errors, and which of them allow the same request to be sent
again (law 15). Whatever the table does not name is *lost*: it may be running and will be billed.
Messages of the provider are never kept, because they may repeat a prompt; names are, when they look
like names. A body that two readers could read differently says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeGuard

CREDITS_HEADER: Final = "x-fashn-credits-used"
NO_RETRY: Final = {"x-should-retry": "false"}
"""What tells the official SDK that a call is not to be sent again by itself."""

OUTPUTS_MOST: Final = 64
"""Pictures of one job that are looked at: sixteen times as many as can be asked for."""
BALANCE_MOST: Final = 10**9
"""A balance beyond this is a mistake of whoever said it."""
BALANCE_NAMES: Final = ("total", "subscription", "on_demand")

TRANSIENT_FAILURES: Final = frozenset(
    {"ThirdPartyError", "3rdPartyProviderError", "UnavailableError", "PipelineError"}
)
"""Run-time errors that the provider advises to try again, with a pause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: header names in lower case, the body as it came."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class NotSent:
    """No connection was made: not one byte of the request left this machine."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Bytes may have left, and no usable answer came back."""

    reason: str


Reply = Answer | NotSent | NoAnswer


# -- the paid POST -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    prediction_id: str


@dataclass(frozen=True, slots=True)
class Again:
    """The same request may be sent again, after a pause and a bounded number of times."""

    name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider did not take the request; `name` is the provider's."""

    name: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows whether it is running."""

    reason: str


_RUN_ERRORS: Final[Mapping[tuple[int, str], type[Again | Refused]]] = {
    (400, "BadRequest"): Refused,
    (401, "UnauthorizedAccess"): Refused,
    (404, "NotFound"): Refused,
    (402, "OutOfCredits"): Refused,
    (429, "OutOfCredits"): Refused,
    (429, "RateLimitExceeded"): Again,
    (429, "ConcurrencyLimitExceeded"): Again,
    (500, "InternalServerError"): Again,
}

RUN_ERROR_NAMES: Final = frozenset(name for _, name in _RUN_ERRORS)
"""The names under which the provider itself does not take a request."""


def read_run(reply: Reply) -> Accepted | Again | Refused | Lost:
    """What the answer to a paid POST means.

    >>> read_run(Answer(429, {}, b'{"error": "OutOfCredits", "message": ""}'))
    Refused(name='OutOfCredits')
    >>> read_run(Answer(502, {}, b"<html>"))
    Lost(reason='HTTP 502')
    """
    if isinstance(reply, NotSent):
        return Again(reply.reason)
    if isinstance(reply, NoAnswer):
        return Lost(reply.reason)
    document = _json(reply.body)
    if 200 <= reply.status < 300:
        found = document.get("id")
        return Accepted(found) if is_id(found) else Lost("no id in the answer")
    name = _name(document.get("error"))
    kind = _RUN_ERRORS.get((reply.status, name))
    return kind(name) if kind else Lost(f"HTTP {reply.status}")


def is_id(value: Any) -> TypeGuard[str]:
    """Whether that can be the id of a prediction, and stand in an address as it is.

    >>> is_id("f3b1-u1"), is_id(7), is_id(".."), is_id("a/b")
    (True, False, False, False)
    """
    return isinstance(value, str) and re.fullmatch(r"[\w:-][\w.:-]{0,199}", value, re.ASCII) is not None


# -- the status call -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    pass


@dataclass(frozen=True, slots=True)
class Missing:
    """404: the provider does not know the id."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing can be read from this answer; ask again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Completed:
    outputs: tuple[str, ...] = field(repr=False)
    credits: int | None
    """What it cost, by the header; None where the header is missing or malformed."""


@dataclass(frozen=True, slots=True)
class Failed:
    name: str
    credits: int | None
    """What it cost all the same; absent is 0 by the provider's rule, None is a header nobody can read."""


@dataclass(frozen=True, slots=True)
class Odd:
    """`canceled`, `time_out` or a word we do not know, with what the header says, if anything."""

    word: str
    credits: int | None
    terminal: bool


StatusReading = Running | Missing | Unclear | Completed | Failed | Odd


def read_status(reply: Reply, prediction_id: str) -> StatusReading:
    """What the answer about a prediction means; a missing cost is never 0 for what completed.

    An answer that names another prediction says nothing about this one.
    """
    if not isinstance(reply, Answer):
        return Unclear(reply.reason)
    document = _json(reply.body)
    if reply.status == 404 and document.get("error") == "NotFound":
        return Missing()
    if document.get("id", prediction_id) != prediction_id:
        return Unclear("an answer about another prediction")
    word = document.get("status")
    if reply.status != 200 or not isinstance(word, str):
        return Unclear(_name(document.get("error")) or f"HTTP {reply.status}")
    credits = credits_used(reply.headers)
    match word:
        case "starting" | "in_queue" | "processing":
            return Running()
        case "completed":
            return Completed(_outputs(document.get("output")), credits)
        case "failed":
            error = document.get("error")
            name = _name(error.get("name") if isinstance(error, dict) else error)
            return Failed(name or "unnamed failure", _cost_of_failure(reply.headers))
        case _:
            terminal = word in ("canceled", "time_out")
            return Odd(_name(word) or "unknown status", _cost_of_failure(reply.headers), terminal)


def credits_used(headers: Mapping[str, str]) -> int | None:
    """The whole number in the header, or None."""
    text = headers.get(CREDITS_HEADER, "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else None


def _cost_of_failure(headers: Mapping[str, str]) -> int | None:
    return credits_used(headers) if CREDITS_HEADER in headers else 0


def read_balance(reply: Reply) -> int | None:
    """The total of credits, or None where the answer does not say."""
    return read_credits(reply).get("total")


def read_credits(reply: Reply) -> dict[str, int]:
    """The whole numbers of a balance by name: `total`, `subscription` and `on_demand`, as far as it says."""
    if not isinstance(reply, Answer) or reply.status != 200:
        return {}
    credits = _json(reply.body).get("credits")
    found = credits if isinstance(credits, dict) else {}
    said = {name: found.get(name) for name in BALANCE_NAMES}
    return {name: value for name, value in said.items() if type(value) is int and abs(value) <= BALANCE_MOST}


def _outputs(value: Any) -> tuple[str, ...]:
    found = value[:OUTPUTS_MOST] if isinstance(value, list) else ()
    return tuple(item for item in found if isinstance(item, str))


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = strict_json(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def strict_json(body: bytes | str) -> Any:
    """JSON that has one reading; raises `ValueError` for a name that is given twice and for `NaN`."""
    return _DECODER.decode(body if isinstance(body, str) else body.decode("utf-8-sig"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _name(value: Any) -> str:
    """A name that can be kept: short, and made of nothing but word characters."""
    return value if isinstance(value, str) and re.fullmatch(r"\w{1,60}", value, re.ASCII) else ""
