"""A batch: the rows of a workload that are to be run, and what became of each.

Here belong choosing rows, the endings of a row and the sums over them, and nothing that acts. Running
belongs to `runner`, files to `results`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from planner.columns import column_name
from planner.errors import Fault, InputError, nearest
from planner.pacing import BASE64_SECONDS, CDN_SECONDS
from planner.prices import PriceBook
from planner.request import ModelCreateRequest
from planner.workload import Job as WorkloadJob
from policies.guard.machine import Job
from policies.guard.naming import Names, Template
from policies.guard.outcomes import charged_credits
from policies.ledger.drift import Drift, drift_of
from policies.ledger.entries import Entry, Planned
from policies.ledger.states import OPEN, Happened, State


class Ending(StrEnum):
    """What became of a row, as the `run` document counts it."""

    COMPLETED = "completed"
    FAILED = "failed"
    """Ran and failed, was refused by the provider, or its key belongs to another request."""
    DENIED = "denied"
    NEEDS_APPROVAL = "needs_approval"
    UNKNOWN = "unknown"
    """May have cost something; in flight when the run ended, or nobody knows."""
    NOT_STARTED = "not_started"


@dataclass(slots=True)
class Line:
    """One row, and what is known of it so far."""

    key: str
    request: ModelCreateRequest | None = field(default=None, repr=False)
    """None where only the ledger knows it: such a line is finished and brought home, never sent."""
    labels: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict, repr=False)
    images: int = 1
    """How many pictures were asked for."""
    names: tuple[str, ...] = ()
    """What its pictures are called, relative to their folder and without an ending."""
    take: int = 1
    """The first, or another one that was wished for although there are earlier ones."""
    planned: Planned | None = None
    """What a plan holds for it; None without one."""
    ending: Ending = Ending.NOT_STARTED
    entry: Entry | None = None
    reason: str = ""
    credits: int = 0
    """What it cost, or may have cost."""
    reused: bool = False
    """It ended before this run asked for it, or another process paid for it."""
    reused_from: str = ""
    """Whose pictures it has, where another key had asked for the same."""
    files: list[str] = field(default_factory=list)
    pictures_gone: int = 0
    pictures_missing: int = 0
    retries: int = 0

    @property
    def is_something(self) -> bool:
        """Whether it brought pictures, or cost something, or may have."""
        return bool(self.credits) or self.ending in (Ending.COMPLETED, Ending.UNKNOWN)

    @property
    def is_retaken(self) -> bool:
        """Whether this run made a take of it beside an earlier one."""
        return self.take > 1 and not self.reused and self.is_something

    def conclude(self, entry: Entry, *, reused: bool) -> None:
        """Take over what the ledger says about its key."""
        self.entry, self.reused = entry, reused
        self.ending, self.reason = ending_of(entry), entry.reason or ""
        self.credits = entry.credits
        if self.ending is Ending.COMPLETED:
            self.reason = ""

    def reuse(self, twin: str, files: Sequence[str]) -> None:
        """Another key has asked for the same, and it has a copy of those pictures: it costs nothing."""
        self.ending, self.reason, self.entry, self.credits = Ending.COMPLETED, "", None, 0
        self.reused, self.reused_from, self.files = True, twin, [*files]

    def take_json(self) -> dict[str, Any]:
        """One element of `retakes` in the `run` document."""
        seed = None if self.request is None else self.request.seed
        return {"key": self.key, "take": self.take, "seed": seed}

    def refuse(self, reason: str) -> None:
        """It is not sent, and cost nothing: its key belongs to another request."""
        self.ending, self.reason, self.entry, self.credits = Ending.FAILED, reason, None, 0


def conclude(line: Line, job: Job, *, reused: bool) -> None:
    """What became of a line by its job, even where the ledger could not be told yet."""
    line.conclude(job.entry, reused=reused)
    if not job.owed:
        return
    line.credits, line.reason = charged_credits(job), job.reason or ""
    match job.ended:
        case Happened.VANISHED | None:
            line.ending = Ending.UNKNOWN
        case Happened.FAILED:
            line.ending, line.credits = Ending.FAILED, 0
        case _:
            line.ending = Ending.COMPLETED if job.outputs or not job.reason else Ending.FAILED


def names_of(line: Line, outputs: int) -> tuple[str, ...]:
    """The names of that many pictures; a take after the first stays beside the ones before it.

    >>> names_of(Line("look-1", names=("look-1-1", "look-1-2"), take=2), 1)
    ('look-1-1-take2',)
    """
    suffix = f"-take{line.take}" if line.take > 1 else ""
    names = line.names[:outputs]
    # More pictures than were asked for are kept, too.
    more = tuple(f"{line.names[-1]}~{number}" for number in range(2, 2 + outputs - len(names)))
    return tuple(name + suffix for name in (*names, *more))


def ending_of(entry: Entry) -> Ending:
    """What an entry says about its row; what is still on its way counts as unknown."""
    match entry.state:
        case State.SETTLED:
            return Ending.COMPLETED if entry.outputs or not entry.reason else Ending.FAILED
        case State.DENIED:
            return Ending.DENIED
        case State.WAITING:
            return Ending.NEEDS_APPROVAL
        case State.RELEASED:
            return Ending.FAILED if entry.prediction_id else Ending.NOT_STARTED
        case _:
            return Ending.UNKNOWN


def pictures_of(entry: Entry) -> int:
    """How many pictures a completed entry stands for: those made, else those that were asked for."""
    return entry.outputs or entry.num_images or 1


def expires_us(entry: Entry) -> int:
    """When the provider throws its pictures away, at the earliest; what expires first is fetched first."""
    seconds = BASE64_SECONDS if entry.return_base64 else CDN_SECONDS
    return (entry.ended_us or entry.accepted_us or entry.booked_us) + seconds * 1_000_000


# -- choosing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows of a file are run; without any of these all of them."""

    where: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] = ()
    first: int | None = None

    @classmethod
    def of(cls, where: Iterable[str], only: Sequence[str], first: int | None) -> Choice:
        """From texts such as `team=social`; raises `InputError` for one that is none.

        >>> Choice.of(["Team = social"], [], 3)
        Choice(where={'team': 'social'}, only=[], first=3)
        """
        pairs = {}
        for text in where:
            name, sign, value = text.partition("=")
            if not sign or not name.strip():
                raise InputError(f"`{text}` is no condition", where="--where", hint="write team=social")
            pairs[column_name(name)] = value.strip()
        return cls(pairs, only, first)

    def of_lines(self, lines: Sequence[Line]) -> list[Line]:
        """The chosen ones, in the order of the file; raises `InputError` for what no row has."""
        faults = [*self._unknown_names(lines), *unknown_keys(self.only, lines, "--only")]
        if faults:
            raise InputError(faults=faults)
        only = set(self.only)
        chosen = (line for line in lines if self._fits(line) and (not only or line.key in only))
        return list(chosen)[: self.first]

    def _fits(self, line: Line) -> bool:
        return all(line.labels.get(name, "") == value for name, value in self.where.items())

    def _unknown_names(self, lines: Sequence[Line]) -> Iterable[Fault]:
        known = sorted({name for line in lines for name in line.labels})
        for name in self.where:
            if name not in known:
                hint = _meant(name, known)
                yield Fault("unknown_column", f"`{name}` is no label of the file", "--where", hint=hint)


def unknown_keys(keys: Iterable[str], lines: Sequence[Line], where: str) -> Iterable[Fault]:
    """A fault, placed at `where`, for each key that no row has."""
    known = [line.key for line in lines]
    for key in sorted(set(keys) - set(known)):
        yield Fault("unknown_key", f"no row has the key `{key}`", where, hint=_meant(key, known))


def _meant(word: str, known: Sequence[str]) -> str:
    guess = nearest(word, known)
    return f"did you mean `{guess}`?" if guess else ""


def lines_of(
    jobs: Iterable[WorkloadJob], derived_key: Callable[[ModelCreateRequest, int], str]
) -> list[Line]:
    """A line for each job; one without a key gets that of its request and its occurrence."""
    return [
        Line(
            key=job.key or derived_key(job.request, job.occurrence),
            request=job.request,
            labels=job.labels,
            columns=job.columns,
            images=job.request.num_images or 1,
        )
        for job in jobs
    ]


def name_pictures(
    lines: Iterable[Line], template: Template, shoot: str, known: Mapping[str, Sequence[str]]
) -> None:
    """Give every line the names of its pictures; those that a key has had it keeps."""
    names = Names(name for kept in known.values() for name in kept)
    for line in lines:
        kept = tuple(known.get(line.key, ()))[: line.images]
        values = {column_name(name): text for name, text in line.columns.items()}
        values |= {**line.labels, "key": line.key, "shoot": shoot}
        new = [template.name({**values, "n": str(n)}) for n in range(len(kept) + 1, line.images + 1)]
        line.names = (*kept, *names.take(new))


# -- sums ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """How a batch stands: rows by ending, and the credits behind them."""

    jobs: int
    endings: Mapping[Ending, int]
    reused: int
    copied: int
    """Of the reused ones those that have the pictures of another key."""
    quoted_credits: int
    settled_credits: int
    unknown_credits: int
    this_run_credits: int
    """Settled, and sent by this run."""
    pictures: int
    pictures_gone: int
    pictures_missing: int
    paid_without_pictures: int
    """Rows that were paid for and whose pictures cannot be fetched any more."""

    def as_json(self) -> dict[str, Any]:
        """The sums of the `run` document."""
        return {
            "jobs": self.jobs,
            **{ending.value: self.endings[ending] for ending in Ending},
            "reused": self.reused,
            "credits": {
                "quoted": self.quoted_credits,
                "settled": self.settled_credits,
                "unknown": self.unknown_credits,
                "this_run": self.this_run_credits,
            },
            "pictures": {
                "home": self.pictures,
                "gone": self.pictures_gone,
                "missing": self.pictures_missing,
            },
        }


_COUNTED: Final = frozenset({State.SETTLED, State.UNKNOWN, *OPEN})


def tally(lines: Sequence[Line]) -> Tally:
    """The sums over the lines of a batch."""
    endings = Counter(line.ending for line in lines)
    counted = [line for line in lines if line.entry is not None and line.entry.state in _COUNTED]
    unknown = sum(line.credits for line in counted if line.ending is Ending.UNKNOWN)
    settled = [line for line in counted if line.ending is not Ending.UNKNOWN]
    return Tally(
        jobs=len(lines),
        endings={ending: endings[ending] for ending in Ending},
        reused=sum(line.reused and line.ending is Ending.COMPLETED for line in lines),
        copied=sum(bool(line.reused_from) for line in lines),
        quoted_credits=sum(line.entry.quoted_credits for line in counted if line.entry),
        settled_credits=sum(line.credits for line in settled),
        unknown_credits=unknown,
        this_run_credits=sum(line.credits for line in settled if not line.reused),
        pictures=sum(len(line.files) for line in lines),
        pictures_gone=sum(line.pictures_gone for line in lines),
        pictures_missing=sum(line.pictures_missing for line in lines),
        paid_without_pictures=sum(bool(line.pictures_gone and not line.files) for line in lines),
    )


def drifts(lines: Sequence[Line], book: PriceBook) -> list[Drift]:
    """The lines of this run that were charged something else than the price book says."""
    fresh = [line.entry for line in lines if line.entry is not None and not line.reused]
    return [drift for entry in fresh if (drift := drift_of(entry, book)) is not None]
