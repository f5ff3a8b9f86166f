"""How a run is told to people: what became of it, what it cost, where the pictures are, what to do next.

Here belong words and layout only; the figures are those of the run document.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from policies.cli.output import DOT, counted, dim, plain, span_text, styled
from policies.guard.batch import Ending
from policies.guard.halts import Halt
from policies.guard.results import reason_of, told_reason
from policies.ledger.drift import HINT

if TYPE_CHECKING:
    from policies.cli.settings import Settings
    from policies.guard.batch import Line, Tally
    from policies.guard.runner import Runner
    from policies.ledger.drift import Drift

MOST_ROWS: Final = 8
"""Rows that did not complete and are named in the summary; the results have them all."""

_WORDS: Final = {
    Ending.FAILED: ("failed", "red"),
    Ending.DENIED: ("denied", "red"),
    Ending.NEEDS_APPROVAL: ("need approval", "yellow"),
    Ending.UNKNOWN: ("unconfirmed", "yellow"),
    Ending.NOT_STARTED: ("not started", "yellow"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """The command as it was typed, so that the next one can be copied as it stands."""

    file: str
    settings: Settings
    sandbox: bool = False
    speed: float | None = None
    max_credits: int | None = None
    left_out: Sequence[str] = ()
    """The lines of the file that had faults and were skipped."""

    def command(self, words: str, *names: str) -> str:
        """A command with those settings that it would not find by itself."""
        parts = [f"planner {words}"]
        for name in names:
            own = self.sandbox and name in ("ledger", "account")
            if own or self.settings.origin(name).startswith("--"):
                parts.append(f"--{name.replace('_', '-')} {shlex.quote(plain(self._value(name)))}")
        return f"`{' '.join(parts)}`"

    @property
    def check(self) -> str:
        """The command that says what a policy makes of the file."""
        words = f"check {shlex.quote(plain(self.file))}"
        return self.command(words, "policy", "ledger", "account", "shoot", "prices", "key_column")

    @property
    def approvals(self) -> str:
        """The command that shows what waits for a person."""
        return self.command("approvals list", "ledger")

    @property
    def collect(self) -> str:
        """The command that finishes what other processes left."""
        words = "collect --sandbox" if self.sandbox else "collect"
        if self.speed is not None:
            words += f" --speed {self.speed:g}"
        return self.command(words, "ledger", "account", "prices", "base_url")

    def _value(self, name: str) -> str:
        file = self.settings.ledger_file
        if name == "ledger" and file is not None and file.suffix == ".db":
            return str(file)
        return str(getattr(self.settings, name))


def summary(runner: Runner, sums: Tally, seconds: float, folder: Path | None, call: Call) -> str:
    """How it went, what it cost, where the pictures are, and what to do next."""
    lines = [_endings_line(sums, seconds), _credits_line(sums)]
    lines += _drift_lines(runner.drifts)
    if folder is not None and sums.pictures:
        home = f"{counted(sums.pictures, 'picture')} in {folder}/ · look at {folder / 'contact.html'}"
        lines.append(dim("pictures  ") + home)
    if expired := sum(line.pictures_gone for line in runner.lines if not _is_by_hand(line)):
        gone = f"{counted(expired, 'picture')} expired before they were fetched; not sent again"
        lines.append(dim("lost      ") + gone)
    if call.left_out:
        lines.append(dim("left out  ") + left_out_text(call.left_out))
    lines += _rows(runner.lines)
    if runner.halts and max(runner.halts) is Halt.LIMIT:
        why = "the next row would pass it; this limit is per run"
        lines.append(dim("stopped   ") + f"by --max-credits {call.max_credits}: {why}")
    lines += [dim("next      ") + text for text in _next(runner, sums, call)]
    return "\n".join(lines)


def _drift_lines(drifted: Sequence[Drift]) -> list[str]:
    """One line for each kind of request whose price is no longer what the book says."""
    by_cell: dict[tuple[str, str], Drift] = {}
    for drift in drifted:
        by_cell.setdefault((drift.what, drift.price_entry), drift)
    lines = [dim("drift     ") + styled(plain(str(drift)), fg="yellow") for drift in by_cell.values()]
    return [*lines, dim("          ") + HINT] if lines else []


def left_out_text(lines: Sequence[str]) -> str:
    """
    >>> left_out_text(["3", "5"]), left_out_text(["4"])
    ('2 rows left out (lines 3 and 5)', '1 row left out (line 4)')
    """
    shown = [*lines[:MOST_ROWS]]
    if len(lines) > MOST_ROWS:
        shown.append(f"{len(lines) - MOST_ROWS:,} more")
    places = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{counted(len(lines), 'row')} left out ({'line' if len(lines) == 1 else 'lines'} {places})"


def _is_by_hand(line: Line) -> bool:
    """Whether a person said that it was paid: nobody can be asked where its pictures are."""
    return line.entry is not None and not line.entry.prediction_id


def _endings_line(sums: Tally, seconds: float) -> str:
    done = f"{sums.endings[Ending.COMPLETED]:,} of {counted(sums.jobs, 'job')} completed"
    parts = [styled(done, fg="green", bold=True)]
    if sums.reused > sums.copied:
        parts.append(f"{sums.reused - sums.copied:,} paid before")
    if sums.copied:
        parts.append(f"{sums.copied:,} reused from another row")
    for ending, number in sums.endings.items():
        if number and ending in _WORDS:
            text, colour = _WORDS[ending]
            one = "needs approval" if ending is Ending.NEEDS_APPROVAL else text
            parts.append(styled(counted(number, one, text), fg=colour))
    if sums.paid_without_pictures:
        parts.append(styled(f"{sums.paid_without_pictures:,} paid without pictures", fg="yellow"))
    return DOT.join([*parts, span_text(seconds)])


def _credits_line(sums: Tally) -> str:
    parts = [f"{sums.quoted_credits:,} quoted", f"{sums.settled_credits:,} charged"]
    if sums.unknown_credits:
        parts.append(f"{sums.unknown_credits:,} unconfirmed")
    if sums.this_run_credits != sums.settled_credits:
        parts.append(f"{sums.this_run_credits:,} by this run")
    return dim("credits   ") + DOT.join(parts)


def _rows(lines: Sequence[Line]) -> list[str]:
    """The first few rows that did not complete, or without a picture, each with its reason."""
    told = [(line, reason) for line in lines if (reason := _reason(line))]
    shown = [
        dim("row       ") + f"{plain(line.key)}: {line.ending.value.replace('_', ' ')}, {plain(reason)}"
        for line, reason in told[:MOST_ROWS]
    ]
    if len(told) > MOST_ROWS:
        shown.append(dim("          ") + f"and {len(told) - MOST_ROWS:,} more")
    return shown


def _reason(line: Line) -> str:
    if line.ending is not Ending.COMPLETED:
        return told_reason(line.reason)
    return reason_of(line) if line.pictures_gone and _is_by_hand(line) else ""


def _next(runner: Runner, sums: Tally, call: Call) -> Iterator[str]:
    """What a person does now."""
    if runner.halts or sums.pictures_missing or sums.endings[Ending.NOT_STARTED]:
        yield "run the same command again: it goes on, and pays for nothing twice"
    if sums.endings[Ending.DENIED] or sums.endings[Ending.NEEDS_APPROVAL]:
        yield f"{call.check} says what would pass"
    if sums.endings[Ending.NEEDS_APPROVAL]:
        yield f"{call.approvals} shows what waits, and who may answer"
    if sums.endings[Ending.UNKNOWN] and not runner.halts:
        holds = call.command("ledger holds", "ledger")
        yield f"{holds} lists what is unconfirmed, `planner ledger settle` ends it"
    failed = [line for line in runner.lines if line.ending is Ending.FAILED and not line.credits]
    if any(line.reason == "KeyConflict" for line in failed):
        yield "use another key, or restore the request the key was first used with"
    if any(line.entry is not None and line.entry.prediction_id for line in failed):
        yield "the same command with `--retake failed` tries the failed rows again"
    if not runner.halts and any(line.entry is not None and not line.entry.prediction_id for line in failed):
        yield "the same command sends the rows that the provider did not take again"
    if runner.inherited:
        others = counted(runner.inherited, "job")
        yield f"{call.collect} brings the pictures of {others} of an earlier run home"
