"""The price book: which credit table is in force at an instant.

Here belong dated entries, their order and their gaps. No credit amount stands in code: entries come
from `data/prices.yaml` or a user's own file, read by `loading`. What a request costs under an entry
belongs to `quoting`.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from planner.errors import ConfigError, Fault, NoPrice


@dataclass(frozen=True, slots=True, eq=False)
class PriceEntry:
    """One credit table and the half-open span of time [start, end) in which it is in force."""

    provider: str
    start: datetime
    end: datetime | None
    credits: Mapping[str, Mapping[str, int]]
    """Credits per image, by mode and then by resolution."""
    face_reference: int
    """Credits per image that a face reference adds."""
    omitted_mode: Mapping[str, str]
    """The mode that an omitted mode is billed as, by resolution."""
    where: str = ""

    @property
    def id(self) -> str:
        """The name that quotes and ledger entries record, such as `fashn@2026-05-01`."""
        start = self.start.astimezone(UTC)
        midnight = (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0)
        day = start.date().isoformat()
        return f"{self.provider}@{day if midnight else start.strftime('%Y-%m-%dT%H:%M:%SZ')}"

    @property
    def digest(self) -> str:
        """A digest of everything that decides a price; a closed entry keeps its digest for ever."""
        decisive = {
            "provider": self.provider,
            "start": self.start.isoformat(),
            "end": self.end.isoformat() if self.end else None,
            "credits": {mode: dict(tiers) for mode, tiers in self.credits.items()},
            "face_reference": self.face_reference,
            "omitted_mode": dict(self.omitted_mode),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


class PriceBook:
    """Dated price entries that never overlap, and the instant at which they were last checked.

    >>> from planner.loading import shipped_prices
    >>> book = shipped_prices()
    >>> book.entry_at(datetime(2026, 11, 1, tzinfo=UTC)).id
    'fashn@2026-05-01'
    """

    __slots__ = ("_starts", "checked_at", "entries")

    def __init__(self, entries: Iterable[PriceEntry], checked_at: datetime) -> None:
        self.entries = tuple(sorted(entries, key=lambda entry: entry.start))
        self.checked_at = checked_at
        self._starts = [entry.start for entry in self.entries]
        _refuse_overlaps(self.entries)

    def entry_at(self, at: datetime | None = None) -> PriceEntry:
        """The entry in force at an instant; without one, when the book was last checked.

        Raises `NoPrice` outside the book: before, after and in the gaps between entries.
        """
        instant = at or self.checked_at
        place = bisect_right(self._starts, instant) - 1
        if place >= 0:
            entry = self.entries[place]
            if entry.end is None or instant < entry.end:
                return entry
        raise NoPrice(
            f"the price book has no entry for {instant.isoformat()}",
            hint=f"it holds {self._spans()}; add a dated entry with --prices FILE",
        )

    def extended(self, entries: Iterable[PriceEntry]) -> PriceBook:
        """This book with further entries; the last open end closes where a later one begins.

        A provider announces a new price with its first day, not by editing the old entry: so an
        entry without an end is ended by its successor, and every other overlap is refused.
        """
        from dataclasses import replace

        merged = sorted((*self.entries, *entries), key=lambda entry: entry.start)
        closed = [
            replace(entry, end=later.start) if entry.end is None and later.start > entry.start else entry
            for entry, later in pairwise(merged)
        ]
        return PriceBook([*closed, *merged[-1:]], self.checked_at)

    def in_force(self, since: datetime, until: datetime) -> tuple[PriceEntry, ...]:
        """Every entry in force at some instant from `since` to `until`, both included."""
        return tuple(e for e in self.entries if e.start <= until and (e.end is None or since < e.end))

    @property
    def digest(self) -> str:
        """A digest of all entries, for plan files and policy texts."""
        return hashlib.sha256("".join(entry.digest for entry in self.entries).encode()).hexdigest()

    def _spans(self) -> str:
        return ", ".join(
            f"{entry.id} until {entry.end.isoformat() if entry.end else 'further notice'}"
            for entry in self.entries
        )


def _refuse_overlaps(entries: tuple[PriceEntry, ...]) -> None:
    faults = [
        Fault(
            "price_overlap",
            f"price entries {first.id} and {second.id} overlap",
            where=second.where,
            hint=f"give {first.id} the end `to: {second.start.date().isoformat()}`, or start later",
        )
        for first, second in pairwise(entries)
        if first.end is None or first.end > second.start
    ]
    if faults:
        raise ConfigError(faults=faults)
