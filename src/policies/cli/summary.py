"""How a run is told to people: what became of it, what it cost, where the pictures are, what to do next.

Here belong words and layout only; the figures are those of the run document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from policies.cli.output import DOT, counted, dim, plain, span_text, styled
from policies.guard.batch import Ending

if TYPE_CHECKING:
    from policies.guard.batch import Line, Tally
    from policies.guard.runner import Runner

MOST_ROWS: Final = 8
"""Rows that did not complete and are named in the summary; the results have them all."""

_WORDS: Final = {
    Ending.FAILED: ("failed", "red"),
    Ending.DENIED: ("denied", "red"),
    Ending.NEEDS_APPROVAL: ("need approval", "yellow"),
    Ending.UNKNOWN: ("unconfirmed", "yellow"),
    Ending.NOT_STARTED: ("not started", "yellow"),
}


def summary(runner: Runner, sums: Tally, seconds: float, folder: Path | None, file: str) -> str:
    """How it went, what it cost, where the pictures are, and what to do next."""
    lines = [_endings_line(sums, seconds), _credits_line(sums)]
    if folder is not None and sums.pictures:
        home = f"{counted(sums.pictures, 'picture')} in {folder}/ · look at {folder / 'contact.html'}"
        lines.append(dim("pictures  ") + home)
    if sums.pictures_gone:
        gone = f"{counted(sums.pictures_gone, 'picture')} expired before they were fetched; not sent again"
        lines.append(dim("lost      ") + gone)
    lines += _rows(runner.lines)
    lines += [dim("next      ") + text for text in _next(runner, sums, file)]
    return "\n".join(lines)


def _endings_line(sums: Tally, seconds: float) -> str:
    done = f"{sums.endings[Ending.COMPLETED]:,} of {counted(sums.jobs, 'job')} completed"
    parts = [styled(done, fg="green", bold=True)]
    if sums.reused:
        parts.append(f"{sums.reused:,} paid before")
    for ending, number in sums.endings.items():
        if number and ending in _WORDS:
            text, colour = _WORDS[ending]
            parts.append(styled(f"{number:,} {text}", fg=colour))
    return DOT.join([*parts, span_text(seconds)])


def _credits_line(sums: Tally) -> str:
    parts = [f"{sums.quoted_credits:,} quoted", f"{sums.settled_credits:,} charged"]
    if sums.unknown_credits:
        parts.append(f"{sums.unknown_credits:,} unconfirmed")
    if sums.this_run_credits != sums.settled_credits:
        parts.append(f"{sums.this_run_credits:,} by this run")
    return dim("credits   ") + DOT.join(parts)


def _rows(lines: Sequence[Line]) -> list[str]:
    """The first few rows that did not complete, each with its reason."""
    told = [line for line in lines if line.ending is not Ending.COMPLETED and line.reason]
    shown = [
        dim("row       ") + f"{plain(line.key)}: {line.ending.value.replace('_', ' ')}, {plain(line.reason)}"
        for line in told[:MOST_ROWS]
    ]
    if len(told) > MOST_ROWS:
        shown.append(dim("          ") + f"and {len(told) - MOST_ROWS:,} more")
    return shown


def _next(runner: Runner, sums: Tally, file: str) -> Iterator[str]:
    """What a person does now."""
    if runner.halts or sums.pictures_missing or sums.endings[Ending.NOT_STARTED]:
        yield "run the same command again: it goes on, and pays for nothing twice"
    if sums.endings[Ending.DENIED] or sums.endings[Ending.NEEDS_APPROVAL]:
        yield f"`planner check {plain(file)}` says what would pass"
    if sums.endings[Ending.UNKNOWN] and not runner.halts:
        yield "`planner ledger holds` lists what is unconfirmed, `planner ledger settle` ends it"
    failed = [line for line in runner.lines if line.ending is Ending.FAILED and not line.credits]
    if any(line.reason == "KeyConflict" for line in failed):
        yield "`--retake changed` pays for the rows whose request has changed"
    if any(line.reason != "KeyConflict" for line in failed):
        yield "`--retake failed` tries the failed rows again"
    if runner.inherited:
        others = counted(runner.inherited, "job")
        yield f"`planner collect` brings the pictures of {others} of an earlier run home"
