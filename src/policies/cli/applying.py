"""`planner plan --apply`: the workload written again with the changes that the plan proposes.

Here belongs what changes in which row, and what a person has to know about it. The user's own columns, their
order and the keys stay as they stood, and only changed cells change. What is proposed is `fitting`'s and
`savings`'; the way to the disk is `writing`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from planner.columns import input_name
from planner.errors import Fault, InputError, nearest
from planner.fitting import Fit
from planner.ladders import difference
from planner.prices import PriceEntry
from planner.quoting import price_cell, quotes
from planner.relaxing import Misfit
from planner.savings import BALANCED, NAMES, OMITTED, SMALLER, cheaper
from planner.workload import Job
from planner.writing import write_sheet
from policies.cli.fitting import Fitted
from policies.cli.output import DOT, counted, credits_text, plain
from policies.cli.planning import Plan
from policies.cli.targets import check_pictures, check_target
from policies.cli.wishes import Flags

OTHERS: Final = {NAMES[what]: what for what in (OMITTED, BALANCED, SMALLER)}
"""The ways to another picture that may be applied, too, by their names."""

MOST_KEYS: Final = 10
"""So many keys are told on screen; the document has all."""


@dataclass(slots=True)
class Applied:
    """What was written, counted while it was."""

    file: str
    jobs: int = 0
    changed: int = 0
    credits: int = 0
    left_out: list[str] = field(default_factory=list)
    """Keys of the rows whose picture an earlier row asks for; a row without a key by its line."""
    without_key: int = 0
    """Changed rows whose key follows from what is asked, so that they are other jobs now."""

    def as_json(self) -> dict[str, Any]:
        """The `applied` of the `plan` document."""
        return {
            "file": self.file,
            "jobs": self.jobs,
            "changed": self.changed,
            "left_out": self.left_out,
            "without_key": self.without_key,
            "credits": self.credits,
        }

    def text(self) -> str:
        """What was written, for people."""
        changed = f"{counted(self.changed, 'job')} changed"
        parts = [f"wrote {plain(self.file)}", counted(self.jobs, "job"), changed, credits_text(self.credits)]
        lines = [DOT.join(parts)]
        if self.left_out:
            more = len(self.left_out) - MOST_KEYS
            names = [*map(plain, self.left_out[:MOST_KEYS]), *([f"and {more:,} more"] if more > 0 else [])]
            lines.append(f"left out, asked for before: {', '.join(names)}")
        if self.without_key:
            jobs = counted(self.without_key, "changed job has no key", "changed jobs have no key")
            lines.append(f"{jobs}: what they ask for is their key, so a ledger takes them for other jobs")
        return "\n".join(lines)


def apply_changes(plan: Plan, flags: Flags, fitted: Fitted | None) -> Applied:
    """Write the workload with the settings that fit, else with the savings that give the same picture.

    Raises `InputError` where nothing fits, or where the file cannot stand there.
    """
    target = Path(flags.apply or "")
    others = _others(flags, fitted)
    if fitted is not None and isinstance(fitted.found, Misfit):
        hint = "leave --apply out to see by how much, and what would do"
        raise InputError("it does not fit, so nothing is written", code="does_not_fit", hint=hint)

    def proposed() -> Iterator[tuple[Job, int | None]]:
        jobs = plan.workload.jobs()
        return _fitting(jobs, fitted) if fitted else _saving(jobs, plan.entry, others)

    check_target(plan.workload, target, "--apply")
    columns, is_local = _columns(proposed())
    if is_local:
        check_pictures(plan.workload, target, "--apply")
    applied = Applied(str(target))
    write_sheet(target, columns, _rows(proposed(), columns, plan.entry, applied))
    return applied


def _fitting(jobs: Iterator[Job], fitted: Fitted) -> Iterator[tuple[Job, int | None]]:
    """Each job with the price cell that it shall have."""
    assert isinstance(fitted.found, Fit)
    return zip(jobs, fitted.found.cells(fitted.order), strict=True)


def _saving(
    jobs: Iterator[Job], entry: PriceEntry, others: tuple[str, ...]
) -> Iterator[tuple[Job, int | None]]:
    """Each job with the price cell that it shall have, or None for a picture that is there already."""
    for job in jobs:
        yield job, None if job.repeated else cheaper(price_cell(job.request), entry, others)


def _columns(proposed: Iterable[tuple[Job, int | None]]) -> tuple[list[str], bool]:
    """The user's columns and then those that a change needs; and whether a row names a local picture."""
    names: dict[str, None] = {}
    needed: dict[str, None] = {}
    is_local = False
    for job, cell in proposed:
        names.update(dict.fromkeys(job.columns))
        is_local = is_local or job.request.is_local
        if cell is not None:
            needed.update(dict.fromkeys(difference(price_cell(job.request), cell)))
    known = {input_name(name) for name in names}
    return [*(names or ["prompt"]), *(name for name in needed if name not in known)], is_local


def _rows(
    proposed: Iterable[tuple[Job, int | None]], columns: Sequence[str], entry: PriceEntry, applied: Applied
) -> Iterator[list[str]]:
    """The rows as they are written, counted on the way."""
    places = {found: place for place, name in enumerate(columns) if (found := input_name(name))}
    for job, cell in proposed:
        if cell is None:
            applied.left_out.append(job.key or job.where)
            continue
        row = [job.columns.get(name, "") for name in columns]
        changes = difference(price_cell(job.request), cell)
        for name, value in changes.items():
            row[places[name]] = str(value)
        applied.jobs += 1
        applied.changed += bool(changes)
        applied.without_key += bool(changes) and job.key is None
        applied.credits += quotes(entry)[cell].credits
        yield row


def _others(flags: Flags, fitted: Fitted | None) -> tuple[str, ...]:
    """The ways to another picture that were named, in the order in which they are applied."""
    faults = []
    for name in flags.apply_also:
        if name not in OTHERS:
            guess = nearest(name, tuple(OTHERS))
            hint = f"did you mean `{guess}`?" if guess else f"use {', '.join(OTHERS)}"
            faults.append(
                Fault("no_such_saving", f"`{name}` is not a saving to apply", "--apply-also", hint=hint)
            )
    if flags.apply_also and fitted is not None:
        hint = "apply one of the two, then plan the written file"
        faults.append(
            Fault("bad_flag", "savings and a fit cannot be applied at once", "--apply-also", hint=hint)
        )
    if faults:
        raise InputError(faults=faults)
    return tuple(what for name, what in OTHERS.items() if name in flags.apply_also)
