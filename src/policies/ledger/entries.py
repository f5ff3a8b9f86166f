"""One entry of the ledger as a value, what is asked of the ledger, and what it answers.

Pure: here belongs the shape. How entries are written belongs to `store`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from unicodedata import normalize

from planner.errors import InputError
from planner.request import ModelCreateRequest
from policies.budgets import Allowance
from policies.decision import Decision
from policies.downgrading import Floor
from policies.ledger.states import BUCKETS, Bucket, Happened, State
from policies.other_models import OtherRequest
from policies.rules import Facts

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

CLOSED_FIELDS: Final = (
    "resolution",
    "generation_mode",
    "num_images",
    "aspect_ratio",
    "face_reference",
    "face_reference_mode",
    "image_reference",
    "seed",
    "output_format",
    "return_base64",
)


def to_us(at: datetime) -> int:
    """An instant as whole micro-seconds of UTC."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The instant of that many micro-seconds.

    >>> from_us(to_us(datetime(2026, 11, 22, 12, tzinfo=UTC))).isoformat()
    '2026-11-22T12:00:00+00:00'
    """
    return _EPOCH + us * _MICROSECOND


def canonical_json(value: Any) -> str:
    """The one text of a value: sorted keys, no spaces, nothing escaped that need not be."""
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Entry(NamedTuple):
    """One job in the ledger; its columns are described in `schema`. A tuple, for its quick copies."""

    id: int
    booked_us: int
    account: str
    shoot: str
    key: str
    take: int
    state: State
    owner: str | None
    epoch: int
    sends: int
    model: str
    resolution: str | None
    generation_mode: str | None
    num_images: int | None
    aspect_ratio: str | None
    face_reference: bool
    face_reference_mode: str | None
    image_reference: bool
    seed: int | None
    output_format: str | None
    return_base64: bool | None
    labels: str
    billed_mode: str
    quoted_credits: int
    asked_credits: int
    credits: int
    estimated: bool
    rate_microusd: int
    price_entry: str
    policy: str
    policy_digest: str
    verdict: str
    shadow_verdict: str | None
    shadow_credits: int | None
    changes: str
    findings: str
    asked_mac: str
    final_mac: str
    prediction_id: str | None
    sent_us: int | None
    accepted_us: int | None
    ended_us: int | None
    slot_until_us: int | None
    reason: str | None
    outputs: int
    outputs_home: int
    outputs_lost: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Entry:
        """An entry from a row of the table."""
        return cls(**{**row, "state": State(row["state"])})

    @property
    def bucket(self) -> Bucket | None:
        return BUCKETS.get(self.state)

    @property
    def booked_at(self) -> datetime:
        return from_us(self.booked_us)

    @property
    def label_values(self) -> dict[str, str]:
        values: dict[str, str] = json.loads(self.labels)
        return values

    @property
    def closed_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CLOSED_FIELDS}

    @property
    def facts(self) -> Facts:
        """What budgets read of it, so that a counter can be derived from entries again."""
        return Facts.of_entry(
            self.closed_fields,
            self.billed_mode,
            self.quoted_credits,
            self.rate_microusd,
            self.label_values,
            self.booked_at,
        )


def clean_key(text: str) -> str:
    """A key as every edge writes it: trimmed and NFC-normalised; raises `InputError` for what is none.

    >>> clean_key(" sku-17 ")
    'sku-17'
    """
    key = normalize("NFC", text).strip()
    if not key or len(key) > 200 or not key.isprintable():
        raise InputError("a key is 1 to 200 characters that can be printed", code="bad_key", field="key")
    return key


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan holds for a job: it goes as that, or not at all."""

    policy_digest: str
    """The text of the policy that it was decided by."""
    final_mac: str
    """The fingerprint of the request that is sent."""
    credits: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants to spend on: a request under a key, for somebody."""

    account: str
    shoot: str
    key: str
    request: ModelCreateRequest | OtherRequest = field(repr=False)
    labels: Mapping[str, str]
    take: int = 1
    allow_rewrite: bool = True
    floor: Floor = field(default_factory=dict)
    """What a downgrade does not go below."""
    planned: Planned | None = None
    """What a plan holds for it; None for one that is sent without a plan."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Booked and about to be sent: the caller now writes the bytes of `request`."""

    entry: Entry
    decision: Decision
    request: ModelCreateRequest | OtherRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class TurnedDown:
    """Denied, or waiting for a person; recorded, and nothing is held."""

    entry: Entry
    decision: Decision


@dataclass(frozen=True, slots=True)
class Taken:
    """The key has an outcome, or is in flight, for this very request: nothing was booked."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key is taken by another request: nothing was booked."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Busy:
    """No slot (`until` is None: when one ends) or the rate window is full; nothing was booked."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The provider said OutOfCredits; a balance of `needed_credits` ends the stop."""

    needed_credits: int


Admission = Admitted | TurnedDown | Taken | Conflict | Busy | Stopped


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came with an event."""

    credits: int | None = None
    """What the provider or a person says it cost."""
    reason: str | None = None
    prediction_id: str | None = None
    outputs: int | None = None
    outputs_home: int | None = None
    outputs_lost: bool | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


Step = tuple[Happened, Evidence]
"""One step of an entry along the table, with what is known of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an entry."""

    seq: int
    entry: int
    at_us: int
    happened: Happened
    state: State
    owner: str | None
    epoch: int
    credits: int
    detail: str


@dataclass(frozen=True, slots=True)
class Counter:
    """A budget's allowance in the ledger, with what counts against it, in its unit."""

    id: int
    policy: str
    allowance: Allowance
    settled: int
    held: int
    unknown: int
    granted: int = 0
    """What stands on top of the limit."""


class Stale(Exception):
    """Somebody else moved the entry: this owner no longer works on it and sends nothing for it."""
