"""One past request, and what the cells of a history say about it.

Here belong the value, and how the texts of one row are read: instants, credits, the price of a credit,
the request that was asked. What the columns mean and what concerns a file as a whole belongs to
`history`. A prompt or a picture is never kept: a stand-in is all that a price or a policy needs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from planner.cells import TRUTHS, read_cell
from planner.columns import shown
from planner.errors import Fault, InputError, InvalidRequest
from planner.loading import instant
from planner.money import micro_from_usd
from planner.notes import TEXTS_TRIMMED, composed
from planner.request import ModelCreateRequest, parse_request

STAND_IN_PROMPT: Final = "a past request"
STAND_IN_PICTURE: Final = "https://example.com/face.png"

MOST_CREDITS: Final = 1_000_000
"""A cost above it is a slip of the file: the dearest request costs less than a hundred."""

DECIMAL_COMMAS: Final = "prices of a credit read with a decimal comma"
STATUSES_RESPELLED: Final = "statuses read in another case"

FAILED: Final = "failed"
COMPLETED: Final = "completed"

_PICTURES: Final = ("https://", "http://", "data:image/")
_RATE: Final = re.compile(r"\$?[0-9]{1,3}(\.[0-9]{1,6}0*)?")
_COMMA: Final = re.compile(r"0,[0-9]+")
"""A price below a dollar: its comma cannot stand between thousands."""


@dataclass(frozen=True, slots=True)
class PastRequest:
    """One request that was sent, and what is known of its end."""

    submitted_at: datetime
    """UTC."""
    completed_at: datetime | None
    """UTC; None where nobody says when it ended."""
    request: ModelCreateRequest
    """The closed fields as they were asked; prompt and references are stand-ins."""
    status: str
    """`completed`, `failed`, or another word of the provider's, in lower case."""
    credits_quoted: int | None
    credits_used: int | None
    """What was charged; None where nobody knows, which is not 0."""
    rate_microusd: int | None
    """What a credit cost then, in whole micro-dollars."""
    prediction_id: str | None
    key: str | None
    labels: Mapping[str, str]
    where: str
    """`file:line`."""

    @property
    def free(self) -> bool:
        """Whether it cost nothing: a failed request does, unless the provider charged for it.

        Where the charge of any other request is missing it is not 0 (law 17).
        """
        return not self.credits_used and (self.status == FAILED or self.credits_used == 0)


def stand_in(fields: Mapping[str, Any]) -> ModelCreateRequest:
    """A request with those closed fields, in which references are true or false.

    Raises `InvalidRequest` with every fault of the fields.

    >>> found = stand_in({"resolution": "2k", "face_reference": True, "image_reference": False})
    >>> found.resolution, found.face_reference, found.image_reference
    ('2k', 'https://example.com/face.png', None)
    """
    values = {name: _picture(value) if name in REFERENCES else value for name, value in fields.items()}
    given = {name: value for name, value in values.items() if value is not None}
    return parse_request({**given, "prompt": STAND_IN_PROMPT})


REFERENCES: Final = ("face_reference", "image_reference")


def _picture(value: Any) -> Any:
    """A stand-in for a reference that is there; what is neither true nor false stays, to be refused."""
    if not isinstance(value, bool):
        return value
    return STAND_IN_PICTURE if value else None


class Cells:
    """Some cells of one row, read one by one; what is wrong with them is collected.

    >>> cells = Cells({"credits_used": "4.0", "completed_at": "2026-08-01 04:05"})
    >>> cells.credits("credits_used"), cells.instant("completed_at")
    (4, None)
    >>> str(cells.faults[0])
    '`completed_at` does not say its offset from UTC (write 2026-08-01T02:28:26+00:00, or …Z)'
    """

    __slots__ = ("_in_utc", "_texts", "faults", "repairs")

    def __init__(self, texts: Mapping[str, str], in_utc: Collection[str] = ()) -> None:
        self._texts = texts
        self._in_utc = in_utc
        self.faults: list[Fault] = []
        self.repairs: list[str] = []

    def blame(self, field: str, message: str, hint: str) -> None:
        code = "invalid_value" if self.text(field) else "missing"
        self.faults.append(Fault(code, message, field=field, hint=hint))

    def text(self, name: str) -> str:
        return composed(self._texts.get(name, ""))

    def span(self) -> tuple[datetime | None, datetime | None]:
        """When it was submitted and when it ended."""
        start, end = self.instant("submitted_at"), self.instant("completed_at")
        if start is None and not self.text("submitted_at"):
            self.blame("submitted_at", "`submitted_at` is empty", "say when it was sent")
        if start and end and end < start:
            self.blame("completed_at", "it ended before it was submitted", "check both instants")
        return start, end

    def instant(self, name: str) -> datetime | None:
        """The instant in that cell, UTC; None where there is none or it cannot be told."""
        text = self.text(name)
        if not text:
            return None
        if found := instant(text[:-4] + "Z" if text.endswith(" UTC") else text):
            return found
        hint = "write 2026-08-01T02:28:26+00:00, or …Z"
        try:
            naive = datetime.fromisoformat(text)
        except ValueError:
            self.blame(name, f"`{shown(text)}` is not an instant", hint)
            return None
        if name in self._in_utc:
            return naive.replace(tzinfo=UTC)
        self.blame(name, f"`{name}` does not say its offset from UTC", hint)
        return None

    def status(self) -> str:
        text = self.text("status")
        if not text:
            self.blame("status", "`status` is empty", "say what became of it, such as completed or failed")
        self.repairs += [STATUSES_RESPELLED] if text != text.lower() else []
        return text.lower()

    def credits(self, name: str) -> int | None:
        text = self.text(name)
        value, repair = read_cell("num_images", text)
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value <= MOST_CREDITS:
            hint = f"a whole number from 0 to {MOST_CREDITS:,}, or nothing where it is not known"
            self.blame(name, f"`{shown(text)}` is not a number of credits", hint)
            return None
        self.repairs += [repair] if repair else []
        return value

    def rate(self) -> int | None:
        """What a credit cost, in whole micro-dollars."""
        text = self.text("usd_per_credit")
        if not text:
            return None
        if _COMMA.fullmatch(text):
            text = text.replace(",", ".")
            self.repairs.append(DECIMAL_COMMAS)
        if _RATE.fullmatch(text) and (rate := micro_from_usd(Decimal(text.removeprefix("$")))):
            return rate
        hint = "dollars for one credit, such as 0.075"
        self.blame("usd_per_credit", f"`{shown(text)}` is not the price of a credit", hint)
        return None


# -- what many rows have in common -----------------------------------------------------------------


class End(NamedTuple):
    """What became of a request and what it cost, as `PastRequest` has it."""

    status: str
    credits_quoted: int | None
    credits_used: int | None
    rate_microusd: int | None


END: Final = ("status", "credits_quoted", "credits_used", "usd_per_credit")
"""The columns that an end is read from."""


def read_end(texts: Mapping[str, str]) -> tuple[End, tuple[str, ...]]:
    """The end of a request, and the repairs that reading it took; raises `InputError` with every fault."""
    cells = Cells(texts)
    found = End(cells.status(), cells.credits("credits_quoted"), cells.credits("credits_used"), cells.rate())
    if cells.faults:
        raise InputError(faults=cells.faults)
    return found, tuple(cells.repairs)


def read_labels(texts: Mapping[str, str]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The labels that have a text, trimmed and normalised, and a repair for each that was not so.

    >>> read_labels({"team": " brand ", "stage": ""})
    ({'team': 'brand'}, ('keys or labels trimmed or written in composed characters',))
    """
    clean = {name: composed(text) for name, text in texts.items()}
    repaired = sum(clean[name] != text for name, text in texts.items())
    return {name: text for name, text in clean.items() if text}, (TEXTS_TRIMMED,) * repaired


def read_fields(texts: Mapping[str, str]) -> tuple[ModelCreateRequest, tuple[str, ...]]:
    """The request that the cells of its inputs describe, and the repairs that reading them took.

    Raises `InvalidRequest` with every fault of them; what stands in a reference is never quoted.
    """
    found = {name: _read(name, text) for name, text in texts.items()}
    repairs = tuple(repair for _, repair in found.values() if repair)
    try:
        return stand_in({name: value for name, (value, _) in found.items()}), repairs
    except InvalidRequest as error:
        hint = "yes, nothing, or the reference itself"
        faults = [replace(one, hint=hint) if one.field in REFERENCES else one for one in error.faults]
        raise InvalidRequest(faults=faults) from None


def _read(name: str, text: str) -> tuple[Any, str | None]:
    """The value of an input; of a reference, whether there is one."""
    if name not in REFERENCES:
        return read_cell(name, text)
    bare = text.strip()
    if not bare or bare.startswith(_PICTURES):
        return bool(bare), None
    return TRUTHS.get(bare.lower(), text), None
