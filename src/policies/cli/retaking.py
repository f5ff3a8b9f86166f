"""Another take of rows that are home: which ones a command means, and how that is told before it is paid.

Here belongs `--retake` between its flag and the runner. What a take is belongs to `guard.takes`, keeping
a wish until it is fulfilled to the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from planner.errors import Fault, InputError, OperatorError
from policies.cli.output import dim, plain, say

if TYPE_CHECKING:
    from planner.request import ModelCreateRequest
    from policies.guard.batch import Line
    from policies.guard.guard import Guard
    from policies.guard.runner import Runner
    from policies.guard.takes import Course
    from policies.guard.triage import Options
    from policies.ledger.store import Store

MOST_ROWS: Final = 8
"""Takes that are told one by one."""


@dataclass(frozen=True, slots=True)
class Retaking:
    """The rows of one command of which another take is wished for."""

    lines: Mapping[str, tuple[Line, Course]]
    """By key the row, and what is to be done about it."""
    takes: Mapping[str, int]
    """By key the take that is meant, of the keys that were named."""

    def request_of(self, key: str) -> ModelCreateRequest | None:
        """What another take of that key asks for; None where none is sent."""
        found = self.lines.get(key)
        return None if found is None else found[1].request

    @property
    def sent(self) -> int:
        """How many takes beside an earlier one are to be sent."""
        return sum(course.request is not None and course.take > 1 for _, course in self.lines.values())

    def tell(self, *, aside: bool) -> None:
        """One line for each take, with the seed that makes it another picture."""
        told = [_told(line, course) for line, course in self.lines.values()]
        for text in told[:MOST_ROWS]:
            say(dim("retake    ") + text, aside=aside)
        if len(told) > MOST_ROWS:
            say(dim("          ") + f"and {len(told) - MOST_ROWS:,} more", aside=aside)

    def options(self, options: Options) -> Options:
        """How a batch is run with these takes."""
        return replace(options, takes=self.takes)

    def remember(self, guard: Guard) -> None:
        """Keep the wish before anything is sent: the same command, run again, goes on with these takes."""
        if self.takes:
            guard.store.want_takes(guard.account, guard.shoot, self.takes)

    def forget(self, guard: Guard, runner: Runner) -> None:
        """The takes that are home are no wish any more, once a command has come to its own end.

        It is the last thing a command does: one that was stopped before keeps its wish, and so does a
        take with something left to do, so that running the command again makes no further take.
        """
        if runner.halts:
            return
        over = [line.key for line in runner.lines if line.key in self.takes and _is_over(line)]
        if not over:
            return
        # Everything is told already, and a wish that stays costs nothing: the next command tells it.
        with suppress(OperatorError):
            guard.store.forget_takes(guard.account, guard.shoot, over)


def refuse_copies(again: Retaking, folder: Path) -> None:
    """Raise `InputError` for named rows that were never sent: what is home is a copy of another row's.

    To send such a row as it stands would be to pay for the very picture that is there.
    """
    from policies.guard.results import read_records

    records = read_records(folder)
    copies = {
        key: records[key].reused_from
        for key, (_, course) in again.lines.items()
        if key in again.takes and course.entry is None and key in records and records[key].reused_from
    }
    if copies:
        hint = "name that row, or give this one another seed"
        told = [f"`{key}` is a copy of `{twin}`" for key, twin in copies.items()]
        raise InputError(faults=[Fault("copy", text, "--retake", hint=hint) for text in told])


def retaking(
    store: Store | None,
    place: tuple[str, str],
    lines: Sequence[Line],
    keys: Sequence[str],
    options: Options,
    with_pictures: bool,
) -> Retaking:
    """What a wish for other takes means for these rows, in that account and shoot.

    Raises `InputError` for a key that none of the rows has.
    """
    from policies.guard.batch import unknown_keys
    from policies.guard.takes import Wish, wished_takes

    if faults := [*unknown_keys(keys, lines, "--retake")]:
        raise InputError(faults=faults)
    if store is None or not (keys or options.retake_changed):
        return Retaking({}, {})
    known = store.takes(*place)
    wanted = store.wanted_takes(*place)
    takes = wished_takes(keys, known, wanted, with_pictures=with_pictures)
    wish = Wish(takes, options.retake_changed)
    found: dict[str, tuple[Line, Course]] = {}
    for line in lines:
        if line.request is not None and (line.key in takes or line.key in known):
            course = wish.course(line.key, line.request, known.get(line.key, {}), store)
            if line.key in takes or course.request is not None:
                found[line.key] = (line, course)
    return Retaking(found, takes)


def _told(line: Line, course: Course) -> str:
    name = f"{plain(line.key)}: "
    if course.is_conflict:
        return f"{name}take {course.take} was made of another request; `--retake changed` makes the next one"
    if course.request is None:
        return f"{name}take {course.take} is there already and goes on; nothing is sent for it again"
    if course.take == 1:
        return f"{name}its first take"
    if line.request is None or course.request.seed == line.request.seed:
        return f"{name}take {course.take}, as the file asks for it now"
    return f"{name}take {course.take} with seed {course.request.seed}: the same seed gives the same picture"


def _is_over(line: Line) -> bool:
    from policies.guard.batch import Ending

    return line.ending is Ending.COMPLETED and not line.pictures_missing
